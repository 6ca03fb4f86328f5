"""`infermeter capture` as a process, on a library in NVML's place: what it records can be played, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infermeter import cli
from infermeter.gpu.recording import read_recording

STUB = Path(__file__).parent / "gpu" / "nvml_stub.c"
NVML = "libnvidia-ml.so.1"
HEAD_BYTES = 100
"""More than a packed file's own head, less than the first rows."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library in NVML's place."""
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run(["gcc", "-shared", "-fPIC", "-pthread", f"-Wl,-soname,{NVML}", "-o", str(folder / NVML), str(STUB), "-lm"], check=True)
    return folder


@pytest.fixture
def signals() -> Iterator[None]:
    """A command that was run here leaves signals ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "infermeter", "capture", *map(str, arguments)]


def environment(library: Path, **stub: str) -> dict[str, str]:
    return os.environ | {"LD_LIBRARY_PATH": str(library), "INFERMETER_LOG_LEVEL": "warning"} | stub


def captured(library: Path, *arguments: str | Path, **stub: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=environment(library, **stub), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["capture.csv", "capture.csv.gz"])
def test_what_nvml_tells_is_recorded_and_can_be_played(name: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    done = captured(library, "--duration", "1s", "--interval", "100ms", "--output", path, STUB_GPUS="8")
    recording = read_recording(path)
    assert done.stderr.startswith(f"{path}: {len(recording.samples)} rows, 8 GPUs, readings rejected: ")
    assert (done.returncode, done.stdout, recording.warnings, recording.rejected, recording.origin) == (0, "", (), {}, "nvml")
    assert [identity.index for identity in recording.identities] == list(range(8))
    assert {identity.product for identity in recording.identities} == {"Stub"}
    assert {identity.driver_version for identity in recording.identities} == {"580.65.06"}
    told = set(recording.samples.values)
    assert {"power_watts", "energy_joules", "utilisation_ratio", "temperature_celsius", "sm_clock_hertz"} <= told
    counted = [sample.energy_joules or 0.0 for sample in recording.samples.of([recording.identities[0].uuid])]
    assert counted == sorted(set(counted))


def test_only_the_configured_devices_are_recorded_and_to_standard_output(library: Path, tmp_path: Path) -> None:
    config = tmp_path / "infermeter.yaml"
    config.write_text("server: {gpus: [1]}\n")
    done = captured(library, "--duration", "200ms", "--interval", "50ms", "--output", "-", "--config", config, STUB_GPUS="3")
    assert done.returncode == 0
    assert done.stdout.startswith("# infermeter capture: 1\n# started: ")
    assert len(re.findall("^# gpu: ", done.stdout, re.MULTILINE)) == 1
    assert re.search(r"^# end: \d+ rows$", done.stdout.splitlines()[-1])
    assert re.match(r"-: \d rows, 1 GPU, readings rejected: ", done.stderr)


def test_a_device_that_is_lost_is_missing_from_then_on(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "capture.csv"
    done = captured(library, "--duration", "1s", "--interval", "100ms", "--output", path, STUB_GPUS="2", STUB_LOST="1")
    recording = read_recording(path)
    kept, lost = (len(recording.samples.of([identity.uuid])) for identity in recording.identities)
    assert 0 < lost < kept
    assert re.search(r"readings rejected: .*\d+ read\n", done.stderr)


def test_a_device_that_hangs_is_missing_and_the_others_go_on(library: Path, tmp_path: Path) -> None:
    config, path = tmp_path / "infermeter.yaml", tmp_path / "capture.csv"
    config.write_text("gpu: {timeout: 200ms}\n")
    arguments = ("--duration", "2s", "--interval", "50ms", "--output", path, "--config", config)
    done = captured(library, *arguments, STUB_GPUS="3", STUB_HANG="1", STUB_HANG_FROM="5")
    recording = read_recording(path)
    rows = [len(recording.samples.of([identity.uuid])) for identity in recording.identities]
    assert (done.returncode, recording.warnings) == (0, ())
    assert 0 < rows[1] < rows[0] == rows[2]
    assert "GPU-00000001-0000-4000-8000-000000000000 doesn't answer" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["capture.csv", "capture.csv.gz"])
def test_a_capture_that_is_interrupted_is_ended_properly(number: signal.Signals, name: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    arguments = command("--duration", "1h", "--interval", "50ms", "--output", path)
    with subprocess.Popen(arguments, env=environment(library), stderr=subprocess.PIPE, text=True) as process:
        while not path.exists() or path.stat().st_size < HEAD_BYTES:
            assert process.poll() is None
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    recording = read_recording(path)
    assert (process.returncode, recording.warnings) == (0, ())
    assert told.startswith(f"{path}: {len(recording.samples)} rows, 2 GPUs, readings rejected: ")


@pytest.mark.parametrize("name", ["capture.csv", "capture.csv.gz"])
def test_a_capture_that_is_cut_off_keeps_its_rows(name: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    arguments = command("--duration", "1h", "--interval", "50ms", "--output", path)
    with subprocess.Popen(arguments, env=environment(library), stderr=subprocess.DEVNULL) as process:
        while not path.exists() or path.stat().st_size < HEAD_BYTES:
            assert process.poll() is None
        process.kill()
    recording = read_recording(path)
    assert len(recording.samples) > 0
    assert "cut off" in recording.warnings[0]


def test_a_reader_that_goes_away_ends_it(library: Path) -> None:
    arguments = command("--duration", "1h", "--interval", "20ms", "--output", "-")
    with subprocess.Popen(arguments, env=environment(library), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"# infermeter capture: 1\n"
        process.stdout.close()
        assert process.wait(timeout=30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_without_a_gpu_it_says_so_in_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / NVML).write_bytes(b"no library")
    done = captured(tmp_path, "--output", tmp_path / "capture.csv")
    assert (done.returncode, done.stderr) == (1, "no GPU to record: NVML: NVML Shared Library Not Found\n")
    assert not (tmp_path / "capture.csv").exists()


def test_a_driver_that_is_not_loaded_is_told(library: Path, tmp_path: Path) -> None:
    done = captured(library, "--output", tmp_path / "capture.csv", STUB_INIT="9")
    assert (done.returncode, done.stderr) == (1, "no GPU to record: NVML: Driver Not Loaded\n")


def test_a_device_that_is_not_there_is_wrong_use(library: Path, tmp_path: Path) -> None:
    config = tmp_path / "infermeter.yaml"
    config.write_text("server: {gpus: [7]}\n")
    done = captured(library, "--output", tmp_path / "capture.csv", "--config", config)
    assert done.returncode == 2
    assert done.stderr.startswith("server.gpus[0]: no GPU 7 here: there are GPU-")
    assert not (tmp_path / "capture.csv").exists()


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ("gpu: {source: none}", 1, "no GPU to record: gpu.source is none"),
        ("gpu: {source: replay, file: FILE}", 2, "gpu.source: a capture is of this machine's GPUs, and replay is a recording already"),
    ],
)
@pytest.mark.usefixtures("signals")
def test_what_is_no_gpu_of_this_machine_is_refused(
    config: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "infermeter.yaml"
    path.write_text(config.replace("FILE", str(path)))
    assert cli.main(["capture", "--output", str(tmp_path / "capture.csv"), "--config", str(path)]) == code
    assert capsys.readouterr().err == f"{said}\n"
    assert not (tmp_path / "capture.csv").exists()


@pytest.mark.usefixtures("signals")
def test_a_simulated_gpu_is_recorded_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, path = tmp_path / "infermeter.yaml", tmp_path / "capture.csv"
    config.write_text("gpu: {source: simulated}\nlog: {level: warning}\n")
    assert cli.main(["capture", "--duration", "2200ms", "--interval", "20ms", "--output", str(path), "--config", str(config)]) == 0
    recording = read_recording(path)
    assert [(identity.energy, recording.origin) for identity in recording.identities] == [("modelled", "simulated")]
    assert capsys.readouterr().err == f"{path}: {len(recording.samples)} rows, 1 GPU, readings rejected: none\n"


@pytest.mark.parametrize(("option", "value"), [("--duration", "1x"), ("--duration", "0"), ("--interval", "1ms"), ("--interval", "-1s")])
def test_a_time_that_is_none_is_wrong_use(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["capture", "--output", "-", f"{option}={value}"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert option in line
