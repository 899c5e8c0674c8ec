"""The file that is being recorded: held by one, whole at every moment, what was in it stays."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from proxy.simulator.cassettes.dump import HEADING, exchange_text
from proxy.simulator.cassettes.load import CassetteError, read_file
from proxy.simulator.cassettes.tape import Tape, TapeError
from tests.simulator.cassettes.exchanges import chat, exchange

END = b"json: {}\n"


def texts(file: Path) -> list[str]:
    return [one.request.json_["messages"][0]["content"] for one in read_file(file).all]


def test_each_exchange_is_in_the_file_once_it_is_added(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "cassette.yaml"
    tape = Tape(file)
    assert texts(file) == []
    for number, text in enumerate(["a", "b", "c"]):
        tape.add(number, exchange(chat(text), [b": blank lines are no end\n\n"]))
        assert texts(file) == ["a", "b", "c"][: number + 1]
    tape.close()
    assert [one.name for one in file.parent.iterdir()] == ["cassette.yaml"]


def test_exchanges_stand_in_the_order_of_their_requests(tmp_path: Path) -> None:
    """A long stream ends after the shorter ones that were asked later."""
    tape = Tape(tmp_path / "a.yaml")
    for number in (2, 3, 1):
        tape.add(number, exchange(chat(f"request {number}")))
    tape.close()
    assert texts(tmp_path / "a.yaml") == ["request 1", "request 2", "request 3"]


def test_what_is_in_the_file_stays_comments_included(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    tape = Tape(file)
    tape.add(1, exchange(chat("first"), b"ends in blank lines\n\n\n"))
    tape.close()
    before = file.read_text().replace("exchanges:\n", "exchanges:  # of the demo\n")
    file.write_text(before)
    tape = Tape(file)
    assert tape.before == 1
    assert file.read_text() == before
    tape.add(1, exchange(chat("second")))
    tape.close()
    assert file.read_text().startswith(before)
    assert texts(file) == ["first", "second"]


def test_blank_lines_at_the_end_are_part_of_what_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(HEADING + exchange_text(exchange(chat(), b"cut here")).replace("cut here", "|+\n        a\n\n"))
    tape = Tape(file)
    tape.add(1, exchange(chat("second")))
    tape.close()
    first, _ = read_file(file).all
    assert first.response is not None
    assert first.response.text == "a\n\n\n"


def test_whoever_reads_the_file_meanwhile_finds_it_whole(tmp_path: Path) -> None:
    file, over, problems = tmp_path / "a.yaml", threading.Event(), []
    tape = Tape(file)

    def look() -> None:
        while not over.is_set():
            raw = file.read_bytes()
            if not raw.startswith(HEADING.encode()) or not raw.endswith(b"\n") or raw.count(b"- at:") != raw.count(END):
                problems.append(raw[-100:])

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(40):
        tape.add(number, exchange(chat("x" * 200_000, end="of it")))
    over.set()
    reader.join()
    tape.close()
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        HEADING,
        HEADING.rstrip(),
        "version: 1\nexchanges: []\n",
        "exchanges: []\nversion: 1\n",
        "version: 1\n",
        '{"version": 1, "exchanges": []}',
        HEADING + "  # nothing yet",
    ],
)
def test_a_file_may_begin_as_it_likes(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    tape = Tape(file)
    assert tape.before == 0
    tape.add(1, exchange(chat("first")))
    tape.close()
    assert texts(file) == ["first"]


def test_exchanges_that_were_rearranged_by_hand_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    tape = Tape(file)
    tape.add(1, exchange(chat("first")))
    tape.close()
    lines = file.read_text().splitlines()
    lines.remove("version: 1")
    less_indented = [line.removeprefix("  ") for line in lines]
    file.write_text("\n".join([*less_indented, "version: 1"]))
    tape = Tape(file)
    tape.add(1, exchange(chat("second")))
    tape.close()
    assert texts(file) == ["first", "second"]


def test_a_bad_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("version: 1\nexchanges: 5\n")
    with pytest.raises(CassetteError, match=r"a\.yaml:2: exchanges: must be a list"):
        Tape(file)
    assert file.read_text() == "version: 1\nexchanges: 5\n"
    assert [one.name for one in tmp_path.iterdir()] == ["a.yaml"]


def test_a_second_recorder_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    first = Tape(tmp_path / "a.yaml")
    for name in ("a.yaml", "link.yaml"):
        with pytest.raises(TapeError, match=r"a\.yaml is being recorded by another recorder"):
            Tape(tmp_path / name)
    first.add(1, exchange(chat("still recording")))
    first.close()
    Tape(tmp_path / "link.yaml").close()
    assert (tmp_path / "link.yaml").is_symlink()


def test_a_lock_that_was_taken_away_on_the_way_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder ends between our opening of its lock file and our locking it."""
    first = Tape(tmp_path / "a.yaml")
    lock = fcntl.flock

    def after_the_first_has_closed(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        first.close()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", after_the_first_has_closed)
    second = Tape(tmp_path / "a.yaml")
    with pytest.raises(TapeError):
        Tape(tmp_path / "a.yaml")
    second.close()


def test_of_many_recorders_at_once_one_gets_the_file(tmp_path: Path) -> None:
    """Also while others let go of it and take their lock file away."""
    file, counts, failed = tmp_path / "a.yaml", [], []

    def record() -> None:
        for _ in range(20):
            try:
                tape = Tape(file)
            except TapeError:
                continue
            except BaseException as error:
                failed.append(error)
                raise
            tape.add(1, exchange(chat("x")))
            counts.append(tape.before)
            tape.close()

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert counts == list(range(len(counts)))
    assert len(texts(file)) == len(counts) > 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(TapeError, match="cannot be recorded into"):
        Tape(tmp_path / "a file" / "a.yaml")
