"""`scripts/bench`: what operations cost, how versions take turns, and how it ends where something is missing."""

import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_costs as costs  # noqa: E402
import bench_measure  # noqa: E402
from bench_costs import Cost  # noqa: E402
from bench_limits import Limits  # noqa: E402
from bench_measure import time_frames, time_operation, time_step  # noqa: E402
from bench_operations import Operation, operations, step_costs  # noqa: E402
from bench_scene import LAYOUT, make_scene, picture, training_step  # noqa: E402
from bench_table import Report, Row, closing, header, line  # noqa: E402
from bench_timing import available, fault, interleaved, under  # noqa: E402

from nerf3d.kernels.backend import backend, using  # noqa: E402
from nerf3d.kernels.hash_grid import GridLayout  # noqa: E402

CPU = torch.device("cpu")
LIMITS = Limits(copy=100.0, multiply=1000.0, gather={(8, 2): 10.0})


def door() -> ModuleType:
    """The script itself, which has no suffix."""
    loader = SourceFileLoader("bench_door", str(SCRIPTS / "bench"))
    spec = spec_from_loader("bench_door", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_grid_costs_its_corners() -> None:
    layout = GridLayout(
        levels=2, features=2, log2_table_size=4, coarsest=8, finest=16
    )  # both levels hashed, 16 rows each
    assert layout.entries == 32
    forward, both = costs.encode(10, layout), costs.encode_both(10, layout)
    assert forward.gathers == 10 * 2 * 8
    assert forward.bytes == 4 * (10 * 3 + 10 * 4 + 32 * 2)
    assert forward.operations == 160 * 6 + 120
    assert forward.table == both.table == (16, 2)
    assert both.gathers == 2 * forward.gathers


def test_a_network_costs_its_weights() -> None:
    forward, both = costs.network(100, (3, 5, 2)), costs.network_both(100, (3, 5, 2))
    assert forward == Cost(bytes=4 * (100 * (3 + 2) + 25), operations=2 * 100 * 25)
    assert both.operations == 3 * forward.operations  # a product forward, two back
    assert both.bytes == forward.bytes + 4 * (100 * (3 + 2 + 3) + 2 * 25)


def test_rays_and_rows_cost_what_they_touch() -> None:
    assert costs.composite(10, 2, 3).bytes == 4 * 10 * 6 + 8 * 3 + 4 * (10 + 2 * 5)
    assert costs.composite_both(10, 2, 3).bytes > 2 * costs.composite(10, 2, 3).bytes
    assert costs.march(10, 2, 64).bytes == 2 * (7 * 4 + 16) + 64 + 10 * 28 + 2 * 16
    assert costs.still_lit(10, 2).bytes == 10 * 13 + 2 * 16
    rows = costs.rows(5, 4, (9, 16))
    assert rows == Cost(bytes=20 * 12 + 4 * (144 + 80), operations=2 * 20 * 16, gathers=20.0, table=(9, 16))
    assert costs.rows_both(5, 4, (9, 16)).gathers == 40
    assert costs.rasterize(3, 1, 4).bytes == 36 + 24 + 4 * 24
    assert costs.adam(7).bytes == 7 * 28


def test_the_limit_is_what_takes_longest() -> None:
    assert LIMITS.bound(Cost(bytes=200.0, operations=100.0)) == (2.0, "bytes")
    assert LIMITS.bound(Cost(bytes=200.0, operations=5000.0)) == (5.0, "operations")
    assert LIMITS.bound(Cost(bytes=200.0, operations=5000.0, gathers=70.0, table=(8, 2))) == (7.0, "gathers")


def test_versions_take_turns() -> None:
    """A clock that says beforehand fixed times, and work that says when it was done."""
    said: list[str] = []
    times = {"a": iter([9.0, 1.0, 5.0, 2.0]), "b": iter([9.0, 8.0, 4.0, 6.0])}  # the first says how often to call

    def clock(work, calls: int) -> float:  # type: ignore[no-untyped-def]
        assert calls == 1  # nothing here is shorter than a measurement should be
        work()
        return next(times[said[-1]])

    found = interleaved({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, 3, clock)
    assert found == {"a": 2.0, "b": 6.0}
    assert "".join(said) == "aabb" + "ab" + "ba" + "ab"


def test_short_work_is_called_several_times_in_one_measurement() -> None:
    calls: list[int] = []

    def clock(_, count: int) -> float:  # type: ignore[no-untyped-def]
        calls.append(count)
        return 1e-4

    interleaved({"short": lambda: None}, 2, clock)
    assert calls == [1, 20, 20]
    calls.clear()
    interleaved({"a picture": lambda: None}, 2, clock, calls=1)
    assert calls == [1, 1]


def test_back_ends_that_do_not_answer_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available(CPU)[0] == "torch"
    assert under("torch", lambda: backend(torch.empty(1)))() == "torch"

    def broken(*_: object) -> None:
        if backend(torch.empty(1)) != "torch":
            raise RuntimeError("no\ndriver")

    monkeypatch.setattr("bench_timing.hash_encode", broken)
    assert available(CPU) == ["torch"]
    with using("numba"):
        assert fault(lambda: broken()) == "RuntimeError: no driver"


def test_what_fails_is_said_and_the_rest_goes_on() -> None:
    def work() -> None:
        if backend(torch.empty(1)) == "numba":
            raise ValueError("wrong")

    report = Report({"device": "a machine"}, ["torch", "numba"])
    row = time_operation(Operation("thing", "1", "forward", work, Cost(50.0)), report, LIMITS, CPU, 1)
    assert list(row.seconds) == ["torch"]
    assert (row.least, row.limit) == (0.5, "bytes")
    assert report.failed == {"thing, forward, numba": "ValueError: wrong"}
    assert closing(report) == ["FAILED thing, forward, numba: ValueError: wrong"]


def test_table_and_file_agree(tmp_path: Path) -> None:
    row = Row("thing", "7 points", "both", {"torch": 0.5, "numba": 0.1}, 0.05, "bytes")
    report = Report({"device": "a machine"}, ["torch", "numba"], LIMITS, [row])
    report.write(tmp_path / "bench.json")
    data = json.loads((tmp_path / "bench.json").read_text())
    assert data["rows"][0]["faster"] == {"torch": 1.0, "numba": 5.0}
    assert data["rows"][0]["above_limit"] == {"torch": 10.0, "numba": 2.0}
    assert data["limits"]["gather"] == [{"rows": 8, "width": 2, "per_second": 10.0}]
    assert line(row, ["torch", "numba", "other"]).split()[4:] == [
        *("500", "100", "5", "-", "-", "50", "bytes", "10", "2", "-")
    ]
    assert len(header(["torch", "numba"])) == len(line(row, ["torch", "numba"]))


def test_the_bench_knows_every_kernel_and_every_step_the_same_samples() -> None:
    with using("torch"):
        bench = make_scene(8, CPU)
        found = list(operations(bench))
        step = training_step(bench)
        before = bench.field.table.detach().clone()
        assert 300 < step() < 1500  # a 512th of the rays, so of 320 thousand samples
        assert torch.equal(bench.field.table, before)
        for operation in found:
            assert fault(operation.work) is None, operation.name
    tables = {cost.table for cost in step_costs(1, 1) if cost.table is not None}
    assert tables == {(2**LAYOUT.log2_table_size, LAYOUT.features)}
    assert {o.name.split()[0] for o in found} == {
        *("march", "light", "hash", "density", "color", "compositing", "rows", "rasterisation", "Adam")
    }


def test_a_step_beside_another_program_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rate is of a version's own samples; one that fails is named, and the row has the others."""

    def rival(name: str, _: object):  # type: ignore[no-untyped-def]
        if name == "nerfacc":
            raise RuntimeError("no compiler")
        return lambda: 1000

    monkeypatch.setattr(bench_measure, "rival_step", rival)
    bench = make_scene(8, CPU)
    limits = Limits(1e9, 1e9, {(2**LAYOUT.log2_table_size, LAYOUT.features): 1e9})
    report = Report({"device": "a machine"}, ["torch"])
    row = time_step(bench, report, limits, 1, "tcnn")
    assert set(row.seconds) == {"torch", "tcnn"}
    assert report.samples_per_second["tcnn"] == pytest.approx(1000 / row.seconds["tcnn"])
    assert row.least > 0
    assert report.peak_memory["the whole process"] > 2**20
    time_step(bench, report, limits, 1, "nerfacc")
    assert report.failed == {"nerfacc": "RuntimeError: no compiler"}
    assert set(report.samples_per_second) == {"torch"}


def test_the_picture_shows_a_solid_ball() -> None:
    seen = picture(24, CPU)()
    assert float(seen.opacity[12, 12]) > 0.99
    assert float(seen.opacity[0, 0]) == 0
    assert 0.1 < float(seen.opacity.mean()) < 0.9
    report = Report({"device": "a machine"}, ["torch"])
    time_frames(report, 8, CPU, 1)
    assert report.frames_per_second["torch"] > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--device", "cuda"], "no CUDA device"),
        (["step", "--against", "tcnn"], "no tcnn to compare with here (it runs on CUDA only)"),
        (["--threads", "100000"], "threads"),
    ],
)
def test_what_is_not_here_is_one_sentence_and_code_2(
    given: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench", *given])
    script = door()
    monkeypatch.setattr(script, "keep_pages", lambda: None)
    assert script.main() == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench_rivals import MODULES, RIVALS, missing

    monkeypatch.setitem(MODULES, "tcnn", ["a_module_that_nobody_has"])
    reason = missing("tcnn", torch.device("cuda"))
    assert reason is not None
    assert "a_module_that_nobody_has cannot be imported" in reason
    assert set(MODULES) == set(RIVALS)
