import pytest
import torch

from meancache.run_folder import load_image


def test_records_and_pictures_are_read_back(write_run, pictures):
    run = write_run("run", pictures)
    records = run.records()
    assert [record.key for record in records] == [(0, 3), (1, 3)]
    assert records[0].nfe == 10
    picture = run.load(records[1])
    assert picture.shape == (3, 64, 64)
    assert picture.dtype == torch.float32
    assert torch.allclose(picture, pictures[1], atol=0.5 / 255)


def test_videos_of_any_length_are_read_back_frame_by_frame(write_run, videos, monkeypatch):
    run = write_run("run", videos)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)  # PIL takes larger pictures for attacks
    record = run.records()[1]
    assert record.num_frames == 4
    assert torch.allclose(run.load(record), videos[1], atol=0.5 / 255)


@pytest.mark.parametrize("name", ["DONE", "records.jsonl"])
def test_an_unfinished_run_is_refused(write_run, pictures, name):
    run = write_run("run", pictures)
    (run.path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} is missing.*stage=generate"):
        run.records()


@pytest.mark.parametrize("line", ["{", '{"sample": "00000-3"}', "[]", "3"])
def test_a_malformed_line_is_named(write_run, pictures, line):
    run = write_run("run", pictures)
    with (run.path / "records.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"records\.jsonl, line 3 .*stage=generate"):
        run.records()


def test_a_run_without_samples_or_with_one_twice_is_refused(write_run, pictures):
    run = write_run("run", pictures)
    lines = (run.path / "records.jsonl").read_text()
    (run.path / "records.jsonl").write_text(lines + lines)
    with pytest.raises(ValueError, match="twice"):
        run.records()
    (run.path / "records.jsonl").write_text("")
    with pytest.raises(ValueError, match="no samples"):
        run.records()


def test_pairs_match_on_prompt_and_seed_whatever_the_order(write_run, pictures):
    run, reference = write_run("run", pictures), write_run("reference", pictures)
    path = reference.path / "records.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert [(a.key, b.key) for a, b in run.pairs(reference)] == [((0, 3), (0, 3)), ((1, 3), (1, 3))]


def test_a_sample_without_reference_is_refused(write_run, pictures):
    with pytest.raises(ValueError, match=r"1 of 2 samples .* no reference .* 00001-3"):
        write_run("run", pictures).pairs(write_run("reference", pictures[:1]))


def test_another_prompt_is_refused(write_run, pictures):
    run, reference = write_run("run", pictures), write_run("reference", pictures)
    path = reference.path / "records.jsonl"
    path.write_text(path.read_text().replace("prompt 1", "something else"))
    with pytest.raises(ValueError, match=r"'prompt 1' in .* but 'something else'"):
        run.pairs(reference)


@pytest.mark.parametrize("kept", [0, 20, 60, 200])
def test_a_truncated_picture_is_named(write_run, kept):
    run = write_run("run", torch.rand(1, 3, 32, 32))
    path = run.path / "samples" / "00000-3.png"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"00000-3\.png.*stage=generate"):
        load_image(path)


def test_a_missing_or_exchanged_picture_is_refused(write_run, pictures):
    run = write_run("run", pictures)
    first, second = run.records()
    (run.path / first.file).write_bytes((run.path / second.file).read_bytes())
    with pytest.raises(ValueError, match="not the picture that was recorded"):
        run.load(first)
    (run.path / second.file).unlink()
    with pytest.raises(ValueError, match=r"00001-3\.png"):
        run.load(second)
