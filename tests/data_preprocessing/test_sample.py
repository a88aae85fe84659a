"""The sample corpus as a whole: determinism, the manifest, bad input."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_preprocessing.sample import write_sample
from modelzoo_mediswift.errors import UserError

SCALE = 0.05


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample")
    write_sample(out, scale=SCALE)
    return out


def test_the_sample_has_these_files_and_no_others(sample: Path) -> None:
    package = "pmc/oa_comm_xml.PMC090xxxxxx.baseline.2024-12-18"
    assert set(contents(sample)) == {
        "MANIFEST.json",
        "pubmed/medline10n0001.xml",
        *(f"pubmed/pubmed25n000{number}.xml.gz" for number in (1, 2, 3, 4)),
        *(f"pmc/PMC9000000{number}.nxml" for number in range(1, 9)),
        f"{package}.tar.gz",
        f"{package}.filelist.csv",
        "pubmedqa/ori_pqal.json",
        "pubmedqa/test_ground_truth.json",
        "pubmedqa/test_set.json",
        "pubmedqa/pqal_fold0/train_set.json",
        "pubmedqa/pqal_fold0/dev_set.json",
        "pubmedqa/pqaa_train_set.json",
        "pubmedqa/pqaa_dev_set.json",
        "pubmedqa/ori_pqau.json",
        "hoc/train.tsv",
        "hoc/dev.tsv",
        "hoc/test.tsv",
    }


def test_manifest_has_the_hash_of_every_other_file(sample: Path) -> None:
    files = contents(sample)
    manifest = json.loads(files.pop("MANIFEST.json"))
    assert manifest["seed"] == 0
    assert manifest["scale"] == SCALE
    assert "invented" in manifest["notice"]
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }


def test_same_seed_same_bytes_whatever_the_hash_order(sample: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from data_preprocessing.sample import write_sample; "
        f"write_sample(Path(sys.argv[1]), scale={SCALE})"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=True)
    assert contents(tmp_path) == contents(sample)


def test_other_seed_other_text_in_every_file(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, seed=1, scale=SCALE)
    one, two = contents(sample), contents(tmp_path)
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name] == two[name]]


def test_an_earlier_sample_is_replaced(tmp_path: Path) -> None:
    write_sample(tmp_path, seed=3, scale=0.03)
    manifest = write_sample(tmp_path, seed=4, scale=0.03)
    assert json.loads((tmp_path / "MANIFEST.json").read_text("utf-8")) == manifest
    for name, about in manifest["files"].items():  # type: ignore[attr-defined]
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == about["sha256"]
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("scale", [0, -1, 0.01, 21, float("nan")])
def test_scale_out_of_range(tmp_path: Path, scale: float) -> None:
    with pytest.raises(UserError, match=rf"scale: expected .* \[0.03, 20\], got {scale}"):
        write_sample(tmp_path, scale=scale)
    assert not list(tmp_path.iterdir())


def test_out_is_a_file(tmp_path: Path) -> None:
    out = tmp_path / "taken"
    out.touch()
    with pytest.raises(UserError, match="taken: expected a folder"):
        write_sample(out)
