"""The paper's tables, figures and claims, on a few steps of the embedded model."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from eval.statistics import Estimate
from experiments.compose import CONF
from experiments.reproduce.__main__ import main, parse
from experiments.reproduce.claims import contradictions, implied_steps, verdict, weakest
from experiments.reproduce.sweeps import PAPER, Sweep

SMALL = ["model.num_steps=20", "prompts.limit=6", "calibrate.limit=1", "calibrate.seeds=[0]", "timing.pairs=0"]
SMALL += ["metrics.names=[psnr]", "metrics.where_possible=[]", "metrics=fidelity", "calibrate.max_span=6"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced")
    main(["table=3", *SMALL, f"output={folder / 'out'}", f"folder={folder / 'paper'}"])
    return folder / "paper"


def test_a_table_comes_in_every_form_and_the_report_says_which_claims_hold(made):
    assert {path.suffix for path in made.glob("table3-tiny_flux.*")} == {".md", ".tex", ".html", ".csv", ".json"}
    text = (made / "reproduction-table3.md").read_text()
    assert "gamma 4 is better than gamma 1 (Table 3) | tiny_flux | " in text
    assert "HunyuanVideo: ToCa" not in text
    assert "| 15 against 15 | 6 |" in text and "Written by `python -m experiments.reproduce table=3 " in text
    assert "its FLOPs are those of 26.0 computed steps, its latency that of 19.5" in text
    assert r"\toprule" in (made / "table3-tiny_flux.tex").read_text()


def test_rows_are_found_by_the_words_of_their_overrides(made):
    sweep = Sweep("table3", "tiny_flux", made / "sweeps" / "table3-tiny_flux")
    assert [comparison.label for comparison in sweep.find("gamma=4")] == ["MeanCache B=15 γ=4 (release, velocity)"]
    assert len(sweep.find("method=meancache")) == 5
    assert len(sweep.rows("gamma=4")[0].samples["psnr"]) == 6
    with pytest.raises(ValueError, match="experiment table3 has no row with gamma=7"):
        sweep.find("gamma=7")


def test_every_row_that_a_figure_or_claim_names_stands_in_its_experiment():
    def words(experiment: str) -> list[set[str]]:
        sweeper = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())["hydra"]["sweeper"]
        if "params" in sweeper:
            return [{f"gamma={gamma}"} for gamma in sweeper["params"]["gamma"].split(",")]
        return [set(row.split()) for row in sweeper["rows"]]

    named = [(entry["experiment"], row) for entry in PAPER["figures"].values() for row in entry.get("rows", ())]
    named += [(name, row) for name, rows in PAPER["settings_of_table4"].items() for row in rows]
    for claim in PAPER["claims"]:
        named += [(name, row) for name in claim["experiment"] for row in (claim["better"], *claim["than"])]
    assert len(named) > 50
    for experiment, row in named:
        assert any(set(row.split()) <= given for given in words(experiment)), (experiment, row)


@pytest.mark.parametrize(
    ("gaps", "told"),
    [
        ({}, "not measured"),
        ({"psnr": (2, 1, 3), "ssim": (1, 0.5, 2)}, "holds"),
        ({"psnr": (2, 1, 3), "ssim": (1, -0.5, 2)}, "within the noise: holds in 1 of 2 metrics"),
        ({"psnr": (2, -1, 3)}, "within the noise"),
        ({"psnr": (2, 1, 3), "ssim": (-1, -2, -0.5)}, "does not hold: in 1 of 2 metrics"),
        ({"psnr": (-1, -2, -0.5)}, "does not hold"),
    ],
)
def test_verdicts(gaps, told):
    assert verdict({name: Estimate(*gap, num_prompts=64) for name, gap in gaps.items()}) == told


def test_a_latency_below_its_flops_is_a_contradiction_and_one_above_is_not():
    plain = {"flops": 500.0, "total_seconds": 50.0}, {"flops": 150.0, "total_seconds": 15.0}
    rows = {"method=full": plain[0], "method=fewer_steps num_steps=15": plain[1]}
    rows["fast"] = {"flops": 260.0, "total_seconds": 20.0}
    assert implied_steps(rows)[2] == ("fast", pytest.approx(26), pytest.approx(20))
    assert "taylorseer" not in contradictions()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to reproduce: all, table=1"),
        (["table=6"], "the paper has tables 1, 2, 3, 4, 5 to reproduce, and no 6"),
        (["figure=3"], "and no 3"),
        (["everything"], "what is 'everything'"),
        (["all", "model=sdxl"], "model must be one of .*tiny_flux.*, got 'sdxl'"),
        (["all", "jobs=0"], "jobs must be a whole number >= 1, got '0'"),
        (["table=3", "model=qwen_image"], "nothing of what is asked for is about model=qwen_image"),
    ],
)
def test_bad_requests_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        main(arguments)


def test_all_is_every_table_and_figure():
    request = parse(["all", "model=flux", "runtime=gpu"])
    assert request.tables == (1, 2, 3, 4, 5) and request.figures == (1, 2, *range(4, 14))
    assert request.extra == ("runtime=gpu",)


def test_figures_are_drawn_from_runs(made, tmp_path):
    from experiments.reproduce.figures import draw_figure

    sweep = Sweep("table3", "tiny_flux", made / "sweeps" / "table3-tiny_flux")
    rows = {"prompts": 3, "first": 0, "rows": ["gamma=1", "gamma=4"], "pick": 1, "word": "Matutinal", "budgets": [4, 8]}
    for kind in ("pictures", "ratios", "velocity", "plans"):
        draw_figure(rows | {"draw": kind}, sweep, SMALL, tmp_path / f"{kind}.png")
    sizes = {path.stem: Image.open(path).size for path in tmp_path.glob("*.png")}
    assert sizes["pictures"][1] > sizes["ratios"][1] and len(sizes) == 4


def test_an_advantage_over_all_is_as_sure_as_over_the_one_that_speaks_most_against_it():
    sure, unsure, lost = Estimate(0.5, 0.3, 0.7, 64), Estimate(1, -0.5, 2.5, 64), Estimate(-0.2, -0.3, -0.1, 64)
    assert weakest([sure, unsure]) is unsure  # though its mean is larger
    assert weakest([sure, lost, Estimate(-0.3, -1, 0.4, 64)]) is lost
    assert weakest([Estimate(2, 1, 3, 64), sure]) is sure
