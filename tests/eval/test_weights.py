"""Weights of scorers: what the catalogue says against the packages, and files that are missing, damaged or fetched."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import open_clip
import pytest
import torch
from torchvision import models

from eval import weights
from eval.catalogue import CATALOGUE
from eval.clip_score import load_scorer
from eval.metric import Batch
from eval.metrics import METRICS, choose_metrics, find_metrics
from eval.row import row_from_run
from eval.weights import CLIP, TRUNKS, WeightFile, what_is_missing
from experiments.evaluate import evaluate
from experiments.weights import describe, find_files, main


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No weights on this machine, whatever its owner has."""
    monkeypatch.setenv("MEANCACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def server(nothing_here, tmp_path, monkeypatch):
    """A folder served over HTTP on this machine, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    Thread(target=http.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def serve(server, content: bytes, **changes) -> WeightFile:
    folder, address = server
    (folder / "some.bin").write_bytes(content)
    file = WeightFile("some.bin", f"{address}/some.bin", 3, hashlib.sha256(content).hexdigest())
    return replace(file, **changes)


def test_trunks_are_those_that_torchvision_loads():
    known = {"alex": models.AlexNet_Weights, "vgg": models.VGG16_Weights, "squeeze": models.SqueezeNet1_1_Weights}
    for net, trunk in TRUNKS.items():
        published = known[net].IMAGENET1K_V1
        assert trunk.address == published.url and trunk.name.endswith(f"-{trunk.sha256}.pth")
        assert trunk.size_mb == pytest.approx(published.meta["_file_size"], abs=0.5)


def test_weights_of_clip_are_those_that_open_clip_names():
    for (architecture, pretrained), file in CLIP.items():
        config = open_clip.get_pretrained_cfg(architecture, pretrained)
        assert config["hf_hub"].rstrip("/") == file.on_hub[0]
        assert file.use == f"architecture={architecture} pretrained={pretrained}"
        assert (config["mean"], config["std"]) == (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        assert (config["interpolation"], config["resize_mode"]) == ("bicubic", "shortest")
        assert "quick_gelu" not in config  # nothing but what open_clip takes for a file, as which they are loaded


def test_every_file_of_the_hub_has_a_whole_checksum_and_every_name_is_used_once():
    files = [file for known in CATALOGUE.values() for file in known]
    assert len({file.target for file in files}) == len(files) and CATALOGUE.keys() <= METRICS.keys()
    assert all(len(file.sha256) == 64 for file in files if file.on_hub)
    for name, known in CATALOGUE.items():
        assert set(METRICS[name].weights()) <= set(known) and METRICS[name].weights()


def test_a_file_is_missing_then_fetched_then_whole(server):
    file = serve(server, b"weights")
    assert file.find() is None and what_is_missing("X", [file]) == (
        "X needs some.bin (3.0 MB): `python -m experiments.weights` lists them"
    )
    file.fetch()
    assert file.find() == file.target and file.what_is_wrong() == "" and what_is_missing("X", [file]) == ""
    assert file.provenance() == replace(file, sha256="").provenance() == f"some.bin sha256 {file.sha256[:16]}"
    assert [path.name for path in file.target.parent.iterdir()] == ["some.bin"]  # no partial file stays behind


@pytest.mark.parametrize("sha256", ["0" * 64, "0" * 8])
def test_other_bytes_than_published_are_never_kept(server, sha256):
    file = serve(server, b"other", sha256=sha256)
    with pytest.raises(ValueError, match=r"some\.bin gave other bytes than expected: nothing was kept"):
        file.fetch()
    assert file.find() is None and not list(file.target.parent.iterdir())


def test_what_is_there_but_damaged_is_told_and_fetched_anew(server):
    file = serve(server, b"weights")
    file.target.parent.mkdir(parents=True)
    file.target.write_bytes(b"half")
    assert file.what_is_wrong().startswith(
        f"an undamaged some.bin (3.0 MB), whose SHA-256 begins {file.sha256[:8]}, not"
    )
    weights.fetch_missing([file])
    assert file.what_is_wrong() == ""


def test_an_address_that_does_not_answer_is_one_clear_error(server):
    file = replace(serve(server, b"weights"), address=f"{server[1]}/none.bin")
    with pytest.raises(ValueError, match=r"cannot fetch .*none\.bin .*404.*put a copy into"):
        file.fetch()


def test_a_file_in_the_hubs_own_cache_is_found(nothing_here, monkeypatch, tmp_path):
    import huggingface_hub

    (tmp_path / "blob").write_bytes(b"x")
    asked = []

    def cached(*question, revision):
        asked.append((*question, revision))
        return str(tmp_path / "blob")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert weights.IMAGE_REWARD.find() == tmp_path / "blob"
    assert asked == [("THUDM/ImageReward", "ImageReward.pt", "main")]
    assert "undamaged" in weights.IMAGE_REWARD.what_is_wrong()  # its bytes are checked there, too


def test_the_list_says_of_every_file_whether_it_is_there(server, capsys):
    TRUNKS["squeeze"].target.parent.mkdir(parents=True)
    TRUNKS["squeeze"].target.write_bytes(b"half")
    main([])
    listed = capsys.readouterr().out
    files = [file for known in CATALOGUE.values() for file in known]
    assert all(text in listed for file in files for text in (file.name, file.address, file.sha256, str(file.target)))
    assert listed.count("not there") == len(files) - 1 and "DAMAGED" in listed
    assert "lpips: LPIPS needs alexnet-owt-7be5be79.pth (233 MB)" in listed
    assert "begins 7be5be79" in describe(TRUNKS["alex"])


def test_metrics_and_files_are_named_to_be_fetched(server, monkeypatch, capsys):
    assert find_files(["image_reward", "vgg16-397923af.pth"]) == [*METRICS["image_reward"].weights(), TRUNKS["vgg"]]
    with pytest.raises(ValueError, match="download=clip: no metric or file of this name; there are .*clip_score"):
        main(["download=clip"])
    with pytest.raises(ValueError, match="no setting downlod; there is download"):
        main(["downlod=lpips"])
    monkeypatch.setitem(TRUNKS, "alex", replace(serve(server, b"trunk"), shelf="torch"))
    monkeypatch.setitem(CATALOGUE, "lpips", (TRUNKS["alex"],))
    main(["download=lpips"])
    assert TRUNKS["alex"].target.read_bytes() == b"trunk" and "lpips: can be computed" in capsys.readouterr().out


@pytest.fixture
def tiny_clip(server, monkeypatch):
    """Settings of CLIP Score for a tiny model whose random weights are served on this machine."""
    folder, address = server
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "tiny-served.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-served.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-served").state_dict(), folder / "tiny.bin")
    digest = hashlib.sha256((folder / "tiny.bin").read_bytes()).hexdigest()
    monkeypatch.setitem(CLIP, ("tiny-served", "seeded"), WeightFile("tiny.bin", f"{address}/tiny.bin", 3, digest))
    return {"clip_score": {"architecture": "tiny-served"}}


def test_a_metric_is_computed_once_its_weights_were_fetched(tiny_clip, write_run, pictures):
    chosen = choose_metrics([], ["clip_score"], tiny_clip, "picture", "tiny")
    run, reference = write_run("run", pictures), write_run("reference", pictures)
    entry = evaluate(run, reference, chosen)["metrics"]["clip_score"]
    assert entry["unavailable"].startswith("CLIP Score needs tiny.bin (3.0 MB): ") and entry["value"] is None
    with pytest.raises(ValueError, match=r"clip_score cannot be computed here: CLIP Score needs tiny\.bin"):
        choose_metrics(["clip_score"], [], tiny_clip, "picture", "tiny")
    chosen = choose_metrics(["clip_score"], [], tiny_clip, "picture", "tiny", download=True)
    entry = evaluate(run, reference, chosen)["metrics"]["clip_score"]
    assert entry["n"] == 2 and 0 <= entry["value"] <= 100 and "notes" not in entry
    digest = CLIP["tiny-served", "seeded"].sha256[:16]
    assert entry["provenance"].endswith(f"tiny-served, tiny.bin sha256 {digest}, 100 x max(cosine, 0)")
    assert load_scorer.cache_info().currsize == 0  # its memory does not count as that of what runs next
    assert evaluate(reference, reference, chosen)["metrics"].keys() == {"clip_score"}  # it needs no reference
    CLIP["tiny-served", "seeded"].target.unlink()
    assert evaluate(run, reference, chosen)["metrics"]["clip_score"] == entry  # kept, though its weights are gone


def test_cut_prompts_are_noted_in_the_row(tiny_clip):
    (metric,) = find_metrics(["clip_score"], tiny_clip)
    assert metric.notes(["a cat", "a cat " * 60, "a dog " * 60]) == (
        "CLIP Score reads 77 tokens of a prompt: 2 of 3 prompts were cut",
    )


def test_a_file_of_yours_serves_and_its_checksum_is_told(tiny_clip, server, pictures):
    settings = {"clip_score": {"architecture": "tiny-served", "pretrained": str(server[0] / "tiny.bin")}}
    (metric,) = choose_metrics(["clip_score"], [], settings, "picture", "tiny")
    assert (
        metric.weights() == () and f"tiny.bin sha256 {CLIP['tiny-served', 'seeded'].sha256[:16]}" in metric.provenance()
    )
    assert metric.score(Batch(pictures, pictures, ("a", "b"))).shape == (2,)


def test_settings_that_name_nothing_are_refused():
    with pytest.raises(ValueError, match=r"clip_score\.pretrained=openai is neither .*known are ViT-bigG-14 laion2b"):
        find_metrics(["clip_score"], {"clip_score": {"pretrained": "openai"}})
    with pytest.raises(ValueError, match=r"metrics\.lpips\.net must be one of alex, vgg, squeeze, got 'resnet'"):
        find_metrics(["lpips"], {"lpips": {"net": "resnet"}})
    with pytest.raises(ValueError, match=r"metrics\.st_lpips\.net must be one of alex, vgg, got 'squeeze'"):
        find_metrics(["st_lpips"], {"st_lpips": {"net": "squeeze"}})
    (small,) = find_metrics(["clip_score"], {"clip_score": {"architecture": "ViT-g-14"}})
    assert small.weights()[0].name == "CLIP-ViT-g-14-laion2B-s34B-b88K.bin"


def test_an_architecture_that_open_clip_lacks_is_told_before_anything_starts(tmp_path):
    (tmp_path / "weights.pt").touch()
    settings = {"clip_score": {"architecture": "ViT-gigantic", "pretrained": str(tmp_path / "weights.pt")}}
    with pytest.raises(ValueError, match="clip_score cannot be computed here: open_clip has no architecture 'ViT-giga"):
        choose_metrics(["clip_score"], [], settings, "picture", "tiny")


def test_image_reward_judges_pictures_alone():
    assert choose_metrics([], ["image_reward"], {}, "video", "hunyuan_video") == []
    with pytest.raises(ValueError, match=r"image_reward scores pictures, and hunyuan_video makes videos"):
        choose_metrics(["image_reward"], [], {}, "video", "hunyuan_video")


def test_torchs_hub_is_where_torch_looks(monkeypatch):
    monkeypatch.delenv("TORCH_HOME", raising=False)
    assert weights.torch_hub() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_row_says_in_one_line_which_scores_lack_weights(nothing_here, write_run, pictures):
    run, reference = write_run("run", pictures), write_run("reference", pictures)
    evaluate(run, reference, find_metrics(["lpips", "image_reward", "psnr"]))
    (note,) = [note for note in row_from_run(run, reference).notes if "n/a" in note]
    assert note == (
        "n/a: LPIPS needs alexnet-owt-7be5be79.pth (233 MB); ImageReward needs ImageReward.pt (1.8 GB) and "
        "bert-base-uncased-vocab.txt (0.2 MB): `python -m experiments.weights` lists them"
    )
