"""Prompt suites of the literature: where they lie in public, and this machine's copies of them.

They are the work of others and no part of this repository. A suite is fetched once, when you allow it, from a fixed
commit, and every read checks its bytes; copies of your own may lie in its folder just as well.

T2V-CompBench has seven attributes, but MeanCache, section 3.1, calibrates on "50 prompts (10 per attribute)" of it and
does not say on which five. We take those that a single picture can show, since the paper calibrates picture models on
them too; the attribute that changes and the direction of motion are left out. ``calibrate.categories`` takes others.
"""

from dataclasses import dataclass
from pathlib import Path

from meancache.downloads import fetch, file_checksum, home


@dataclass(frozen=True)
class SuiteFile:
    """A file of a suite: its name, the SHA-256 of its bytes, and the category of prompts that name none."""

    name: str
    sha256: str
    category: str = ""


@dataclass(frozen=True)
class Suite:
    """A prompt suite.

    Attributes:
        home: public address of the folder its files lie in, at a commit.
        files: in the order of their prompts.
        calibration: categories to calibrate on unless others are named, or none for all.
    """

    home: str
    files: tuple[SuiteFile, ...]
    calibration: tuple[str, ...] = ()


GITHUB = "https://raw.githubusercontent.com"
T2V_COMPBENCH = {  # attribute: SHA-256 of its file
    "consistent_attr": "32c017a85c86b737cf8fe9d84b48a332af5ac4f65159b89cc6b83401d6eefbde",
    "dynamic_attr": "04beda2567041b7afb3e386b7b93388895cfe27f8a894a4839d328bae271f348",
    "spatial_relationship": "168e783bccd5f8d57771d706d21c623f616814235f206fff7d875c56c95b0bf6",
    "motion_binding": "f1364a4d09ff9372a0967fb460c8fee1ac53ca8a8581a87fd6b4b6f8bf227d30",
    "action_binding": "d76c7d1a788c84526468d5132b72ce470299442cfa566732b21d01d9e77c95a0",
    "interaction": "8177bef1f3770f9398f562cd019fcfc921c8eae926026c8ed9a7654c1bb7c79f",
    "numeracy": "250a14a84471778674bbfe8be66fb7611d65fb4a8f1b7658425e305d369ffc22",
}
SUITES = {
    # Saharia et al., arXiv 2205.11487: 200 prompts, in the copy that cache-dit's benchmark of DBCache reads
    "drawbench": Suite(
        f"{GITHUB}/vipshop/cache-dit/f86744af7daa0f569fe4324e73e3e50cebf70f4c/bench/cache/prompts",
        (SuiteFile("DrawBench200.txt", "3bf3fce1c56d5fedf1af832cfb855bd4e16bacd2e4a36c123d50d04d4fd0afb7"),),
    ),
    # Huang et al., arXiv 2311.17982: 946 prompts with the dimensions each is scored on
    "vbench": Suite(
        f"{GITHUB}/Vchitect/VBench/45e79ec14e69a2187202c675d2dbce1a71843d53/vbench",
        (SuiteFile("VBench_full_info.json", "5dd2de80ee43cda750b2b72ea7023657c0b90d3702041c7e4608c65dbe50dccd"),),
    ),
    # Sun et al., arXiv 2407.14505: 100 prompts for each of seven attributes
    "t2v_compbench": Suite(
        f"{GITHUB}/KaiyueSun98/T2V-CompBench/116f996847da14ef1474b8f19ebce5c50da264f3/prompts",
        tuple(SuiteFile(f"{i}_{name}.txt", digest, name) for i, (name, digest) in enumerate(T2V_COMPBENCH.items(), 1)),
        calibration=("consistent_attr", "spatial_relationship", "action_binding", "interaction", "numeracy"),
    ),
}


def suite_folder(name: str) -> Path:
    """Where this machine's copies of a suite lie."""
    return home() / "prompts" / name


def calibration_categories(file: str | Path | None) -> tuple[str, ...] | None:
    """Categories of a suite to calibrate on if none are named, or None for all."""
    return (SUITES[str(file)].calibration or None) if str(file) in SUITES else None


def open_suite(name: str, *, download: bool = False) -> list[tuple[Path, str]]:
    """Files of a suite, checked, with the category of their prompts.

    Args:
        name: one of SUITES.
        download: fetch files that are not on this machine.

    Raises:
        ValueError: a file is missing and may not or cannot be fetched, or holds other bytes than it should.
    """
    suite, folder = SUITES[name], suite_folder(name)
    missing = [file for file in suite.files if not (folder / file.name).exists()]
    if missing and not download:
        names = ", ".join(file.name for file in missing)
        raise ValueError(
            f"the prompt suite {name} is not on this machine: add prompts.download=true to fetch it, or put {names} "
            f"from {suite.home} into {folder}"
        )
    for file in missing:
        fetch(f"{suite.home}/{file.name}", folder / file.name, file.sha256)
    for file in suite.files:
        path = folder / file.name
        if (found := file_checksum(path)) != file.sha256:
            raise ValueError(
                f"{path} is not the file that {suite.home} holds: delete it and fetch it anew (SHA-256 {found}, not "
                f"{file.sha256})"
            )
    return [(folder / file.name, file.category) for file in suite.files]
