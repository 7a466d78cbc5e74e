"""Networks: the recorded WRN-28-2, parameter counts, heads, precision."""

import numpy as np
import pytest
import torch

from pldebias.nets import NETWORKS, WideResNet, build_network
from tests.golden_files import seeds, vectors


def load_recorded(network, seed, names):
    """Recorded weights were drawn parameter by parameter, in registration order, from one generator."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter, name in zip(network.parameters(), names, strict=True):
            draw = torch.randn(parameter.shape, generator=generator) * (0.05 if parameter.ndim == 4 else 0.1)
            parameter.copy_(draw + (1 if parameter.ndim == 1 and name.endswith("weight") else 0))


@vectors("daso_seval/wrn28_2_K*")
def test_wrn_equals_the_recorded_network(vector, golden):
    arrays, meta = golden(vector)
    network = WideResNet()
    assert [list(p.shape) for p in network.parameters()] == meta["hyperparameters"]["shapes"]
    assert sum(p.numel() for p in network.parameters()) == arrays["in_num_params"] == 1_466_320
    x, recorded = torch.tensor(arrays["in_x"]), torch.tensor(arrays["out_feat_train"])
    for seed in seeds(vector):
        network = WideResNet()
        load_recorded(network, seed, meta["hyperparameters"]["param_names"])
        features = network.train()(x).detach()
        if torch.allclose(features, recorded, atol=0.1):
            break
    torch.testing.assert_close(features, recorded, atol=2e-5, rtol=2e-4)
    torch.testing.assert_close(network.eval()(x).detach(), torch.tensor(arrays["out_feat_eval"]), atol=2e-5, rtol=2e-4)
    last = network.tail[0]
    torch.testing.assert_close(last.running_mean, torch.tensor(arrays["out_rm_last"]), atol=2e-5, rtol=2e-4)
    torch.testing.assert_close(last.running_var, torch.tensor(arrays["out_rv_last"]), atol=2e-5, rtol=2e-4)


@vectors("daso_seval/wrn28_2_K*")
def test_wrn_is_initialised_like_the_recorded_network(vector, golden):
    _, meta = golden(vector)
    names = meta["hyperparameters"]["param_names"]
    torch.manual_seed(0)
    network = WideResNet()
    ours = dict(zip(names, network.parameters(), strict=True))
    for name, (std, _) in meta["hyperparameters"]["init_conv_std"].items():
        # The recorded standard deviations are themselves of one draw of a few hundred to 147,456 values.
        assert ours[name].std().item() == pytest.approx(std, rel=4 / np.sqrt(ours[name].numel()) + 0.02), name


@pytest.mark.parametrize(
    ("name", "channels", "parameters"), [("cnn_glyphs", 1, 24_314), ("tiny_resnet", 3, 78_042), ("wrn28_2", 3, 1_467_610)]
)
def test_parameter_counts(name, channels, parameters):
    assert sum(p.numel() for p in build_network(name, channels, 10).parameters()) == parameters


@pytest.mark.parametrize("name", ["cnn_glyphs", "cnn_digits", "tiny_resnet", "wrn28_2", "resnet18"])
def test_features_logits_and_heads(name):
    channels = 3
    network = build_network(name, channels, 7, heads=[("abc", None), ("rotation", 4)]).eval()
    features, logits = network(torch.randn(1, channels, 32, 32))  # one image: no axis may be squeezed away
    assert features.shape == (1, network.feature_dim)
    assert logits.shape == (1, 7)
    assert network.heads["abc"](features).shape == (1, 7)
    assert network.heads["rotation"](features).shape == (1, 4)


def test_bfloat16_leaves_outputs_in_float32():
    network = build_network("tiny_resnet", 3, 10).eval()
    x = torch.randn(8, 3, 32, 32)
    exact = network(x)
    network.bf16 = True
    rough = network(x)
    assert rough.logits.dtype == rough.features.dtype == torch.float32
    assert not torch.equal(rough.logits, exact.logits)
    torch.testing.assert_close(rough.logits, exact.logits, atol=0.1, rtol=0.1)


def test_no_garbage_in_the_gradients_of_one_pixel():
    """All but the middle of a kernel see nothing but padding there; memory that nobody wrote to is NaN here."""
    layer = build_network("resnet18", 3, 5).backbone.layer2[0].conv1
    pixel = torch.randn(4, 64, 1, 1)
    for bf16 in (False, *[True] * 8):  # whose memory is taken differs from one pass to the next
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = layer(pixel)
            assert torch.equal(out, torch.conv2d(pixel, layer.weight, None, 2, 1))
        kept = [torch.full((1 << size,), torch.nan) for size in range(8, 22) for _ in range(3)]
        del kept
        out.float().square().sum().backward()
        of_taps = layer.weight.grad.square().sum((0, 1)).flatten()
        assert of_taps[4] > 0 and of_taps.sum() == of_taps[4]


def test_unknown_network_names_those_there_are():
    with pytest.raises(ValueError, match=r"'wrn282' is not known.*wrn28_2"):
        build_network("wrn282", 3, 10)
    assert "wrn28_2" in NETWORKS


def test_colour_network_refuses_grey_images():
    with pytest.raises(ValueError, match="3 channels"):
        build_network("resnet18", 1, 10)
