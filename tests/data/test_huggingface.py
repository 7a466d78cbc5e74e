"""Folders that Hugging Face's `datasets` saved, and clones of repositories: read as they are described, or refused by name.

``huggingface/`` holds what `datasets` 5.2.0 wrote: one set of 12 images, and a dictionary of 12 (in two files), 6 and 3.
"""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_odd_files import IDS, RED, hub, lay, pets, read, sizes, table, write

from pldebias.data import DataError, SplitSpec, build, load_source

SAVED = Path(__file__).parent / "huggingface"
NAMES = ("cat", "dog", "owl")


def test_a_saved_dictionary(tmp_path):
    found, said = read(f"huggingface:{SAVED / 'dict'}", tmp_path)
    assert sizes(found) == (12, 6, 3) and found.class_names == NAMES and not said
    assert found.labels.tolist() == IDS and found.extra_labels.tolist() == [0, 1, 2]
    assert found.images[4, :, 0, 0].tolist() == [80, 40, 160] and found.test_images[0, :, 0, 0].tolist() == [40, 40, 180]


def test_one_saved_set_is_data_for_a_split_whatever_it_is_called(tmp_path):
    path = shutil.copytree(SAVED / "single", tmp_path / "set")
    (path / "cache-0123.arrow").write_bytes(b"left over")
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "_split": "test"}))
    made = [build(SplitSpec(f"{kind}:{path}", n1=2, m1=1, root=str(tmp_path / kind))) for kind in ("huggingface", "parquet")]
    assert made[0].class_names == NAMES and len(made[0].labelled) == 6 and made[0].fingerprint == made[1].fingerprint


def test_names_that_the_schema_lacks_are_read_beside_it(tmp_path):
    path = shutil.copytree(SAVED / "single", tmp_path / "set")
    file = path / "data-00000-of-00001.arrow"
    plain = pa.ipc.open_stream(file.read_bytes()).read_all().replace_schema_metadata(None)
    with pa.ipc.new_stream(str(file), plain.schema) as new:
        new.write_table(plain)
    assert load_source(f"huggingface:{path}", root=tmp_path).class_names == NAMES


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (lambda p: (p / "train" / "data-00001-of-00002.arrow").unlink(), r"state\.json names data-00001-of-00002\.arrow, which is missing"),
        (lambda p: shutil.rmtree(p / "test"), r"dataset_dict\.json names the splits .*, but test is missing"),
        (lambda p: (p / "dataset_dict.json").write_text("{"), r"dataset_dict\.json: cannot be read"),
        (lambda p: (p / "dataset_dict.json").write_text('{"splits": ["../x"]}'), "names no splits"),
        (lambda p: (p / "train" / "state.json").write_text("{}"), "names no files"),
        (lambda p: (p / "train" / "data-00001-of-00002.arrow").write_bytes(b"x" * 90), r"data-00001.*: not a readable Arrow file"),
        (lambda p: cut(p / "train" / "data-00000-of-00002.arrow"), r"data-00000-of-00002\.arrow: not a readable Arrow file"),
        (lambda p: rename(p, "unlabelled", "dev"), None),
        (lambda p: rename(p, "unlabelled", "more"), "its split 'more' is none of train, test"),
        (lambda p: rename(p, "unlabelled", "testing"), "name the test set twice"),
        (lambda p: rename(p, "train", "validation"), "no training split among"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, damage, wanted):
    path = shutil.copytree(SAVED / "dict", tmp_path / "set")
    damage(path)
    if wanted is None:
        assert sizes(read(f"huggingface:{path}", tmp_path)[0]) == (12, 6, 0)
        return
    with pytest.raises(DataError, match=wanted):
        load_source(f"huggingface:{path}", root=tmp_path)


def cut(file):
    file.write_bytes(file.read_bytes()[:700])


def rename(path, old, new):
    (path / old).rename(path / new)
    described = path / "dataset_dict.json"
    described.write_text(described.read_text().replace(f'"{old}"', f'"{new}"'))


# -- Repositories ---------------------------------------------------------------------------------------------------------


def repository(path, head, **files):
    path.mkdir()
    (path / "README.md").write_text(f"---\nlicense: mit\n{head}---\n# Pets\n")
    for name, made in files.items():
        write(path / f"{name.replace('__', '/')}.parquet", made)
    return path


CONFIGS = """configs:
- config_name: big
  data_files:
  - {split: train, path: big/a-*}
  - {split: test, path: [big/b-0.parquet]}
- config_name: small
  data_files: {train: small/a.parquet, test: big/b-0.parquet}
"""
INFO = """dataset_info:
  features:
  - {name: image, dtype: image}
  - name: label
    dtype: {class_label: {names: {'0': cat, '1': dog, '2': owl}}}
  splits: [{name: train, num_examples: 12}]
"""
BIG = CONFIGS[: CONFIGS.index("- config_name: small")] + INFO.replace("features", "config_name: big\n  features")
FILES = {"big__a-0": table(IDS), "big__a-1": table(IDS), "big__b-0": table([0, 1, 2]), "small__a": table(IDS), "big__c": table([7])}


@pytest.mark.parametrize(
    ("head", "config", "counts", "names", "wanted"),
    [
        (CONFIGS, "#config=big", (24, 3, 0), ("0", "1", "2"), ""),
        (CONFIGS, "#config=small,label", (12, 3, 0), ("0", "1", "2"), ""),
        (CONFIGS.replace("name: small", "name: small\n  default: true"), "", (12, 3, 0), ("0", "1", "2"), ""),
        (CONFIGS.replace("small", "default", 1), "", (12, 3, 0), ("0", "1", "2"), ""),
        (BIG, "", (24, 3, 0), NAMES, ""),
        ("configs:\n- data_files: big/a-*\n" + INFO, "", (18, 6, 0), NAMES, ""),
        ("configs:\n- {config_name: default, data_dir: small}\n", "", (9, 3, 0), ("0", "1", "2"), ""),
        (CONFIGS.replace("small/", "gone/").replace("test: big/b-0", "test: gone/b"), "", (24, 3, 0), ("0", "1", "2"), ""),
        (CONFIGS.replace("big/b-0.parquet", "big/none-*"), "#config=small", (9, 3, 0), ("0", "1", "2"), "'big/none-\\*' as test files"),
    ],
)  # fmt: skip
def test_the_header_of_a_repository_names_files_and_classes(tmp_path, head, config, counts, names, wanted):
    path = repository(tmp_path / "repo", head, **FILES)
    found, said = read(f"huggingface:{path}{config}", tmp_path / "root")
    assert sizes(found) == counts and found.class_names == names
    assert wanted.replace("\\", "") in said and bool(wanted) == bool(said), said


@pytest.mark.parametrize(
    ("head", "config", "wanted"),
    [
        (CONFIGS, "#config=tiny", r"README\.md: no configuration 'tiny'; it names big, small"),
        (CONFIGS, "", r"names the configurations big, small; name one as huggingface:PATH#config=big"),
        ("configs: [", "", r"README\.md: its header is no YAML"),
        ("configs:\n- data_files: ../x.parquet\n", "", "does not lie in its folder"),
        ("configs:\n- data_files: hf://datasets/x/y.parquet\n", "", "does not lie in its folder"),
        ("configs:\n- data_files: README.md\n", "", r"names README\.md as train files; only Parquet and Arrow files"),
        ("configs:\n- data_files: {train: big/a-0.parquet, extras: small/a.parquet}\n", "", "split 'extras' is none of"),
    ],
)  # fmt: skip
def test_headers_that_are_refused(tmp_path, head, config, wanted):
    path = repository(tmp_path / "repo", head, **FILES)
    with pytest.raises(DataError, match=wanted):
        load_source(f"huggingface:{path}{config}", root=tmp_path / "root")


def test_names_that_contradict_one_another_are_refused(tmp_path):
    path = repository(tmp_path / "repo", INFO, train=hub(table(IDS), label=pets("a", "b", "c")))
    with pytest.raises(DataError, match="its schema names the classes a, b, c, but the description beside it cat, dog, owl"):
        load_source(f"huggingface:{path}", root=tmp_path / "root")


def test_a_repository_of_images_is_read_as_folders(tmp_path):
    lay(tmp_path / "repo", "data/train/cat*4|data/train/dog*4|README.md")
    with pytest.raises(DataError, match=r"no \.parquet file in this folder, only .*; for folders of images give imagefolder:"):
        load_source(f"huggingface:{tmp_path / 'repo'}", root=tmp_path / "root")


def test_a_readme_without_a_header_is_a_readme(tmp_path):
    path = tmp_path / "repo"
    write(path / "train.parquet", pa.table({"image": [RED] * 12, "label": IDS}))
    for text in ("# Pets\n---\nconfigs: [\n---\n", "---\nlicense: mit\n---\n", "---\nconfigs: x\n---\n"):
        (path / "README.md").write_text(text)
        assert sizes(read(f"huggingface:{path}", tmp_path / "root")[0]) == (9, 3, 0)
    assert pq.read_table(path / "train.parquet").num_rows == 12
