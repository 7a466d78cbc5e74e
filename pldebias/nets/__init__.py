"""Networks: a backbone that returns features, a linear classifier, and the extra heads that a method asks for."""

from pldebias.nets.constant import GradientRows
from pldebias.nets.network import NETWORKS, Cosine, Network, Output, build_network
from pldebias.nets.small import CNN, TinyResNet
from pldebias.nets.wrn import WideResNet

__all__ = ["CNN", "NETWORKS", "Cosine", "GradientRows", "Network", "Output", "TinyResNet", "WideResNet", "build_network"]
