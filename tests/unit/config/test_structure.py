"""From YAML to the configuration: what is taken, and one line with path, line and nearest key for what isn't."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infermeter.config import Config, Cost, GpuChoice, Power, Rent, Sla, Slas
from infermeter.errors import ConfigErrors
from infermeter.model import Window
from infermeter.parsing.structure import known_paths, load_config


def problems(text: str) -> list[str]:
    """Line by line; none where the text is taken."""
    try:
        load_config(text, "infermeter.yaml")
    except ConfigErrors as errors:
        return str(errors).splitlines()
    return []


@pytest.mark.parametrize("text", ["", "# nothing\n", "~", "server:\n", "server: {}\ncost: null\nsla: ~\nwindows:\n"])
def test_nothing_written_is_the_defaults(text: str) -> None:
    assert load_config(text, "f") == Config()


def test_every_kind_of_value_is_read() -> None:
    config = load_config(
        """
        server: {kind: triton, gpus: [0, GPU-7f, {gpu: 2, share: 0.5}], sampled: false, gpu_count: 4}
        sla:
          default: {quantile: 0.95, ttft_seconds: 0.3}
          models: {batch: {ttft_seconds: null, duration_seconds: 60}}
        cost: {currency: EUR, as_of: 2026-07-20, source: "list price", rent: {per_hour: 2, per: instance}}
        gpu: {interval: 500ms, profiling: off, baseline_watts: {GPU-7f: 61.5}}
        listen: {otlp_grpc: null}
        windows: [90s, 1h]
        """,
        "f",
    )
    assert config.server.gpus == (GpuChoice(0), GpuChoice("GPU-7f"), GpuChoice(2, 0.5))
    assert (config.server.kind, config.server.sampled, config.server.gpu_count) == ("triton", False, 4)
    assert config.sla == Slas(Sla(0.95, None, 0.3), {"batch": {"ttft_seconds": None, "duration_seconds": 60.0}})
    assert config.cost == Cost("EUR", date(2026, 7, 20), "list price", rent=Rent(2.0, "instance"))
    assert (config.gpu.interval, config.gpu.profiling, config.gpu.baseline_watts) == (0.5, "off", {"GPU-7f": 61.5})
    assert config.listen.otlp_grpc is None
    assert config.windows == (Window("90s", 90.0), Window("1h", 3600.0))


def test_a_number_stands_for_every_gpu() -> None:
    assert load_config("gpu: {baseline_watts: 61}", "f").gpu.baseline_watts == 61.0


def test_measured_host_watts_are_a_word_among_numbers() -> None:
    assert load_config("cost: {power: {host_watts: measured}}", "f").cost == Cost(power=Power(host_watts="measured"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servr: {}", "servr: unknown key; did you mean server? (line 1)"),
        ("server: {nmae: x}", "server.nmae: unknown key; did you mean name? (line 1)"),
        ("per_hour: 1", "per_hour: unknown key; did you mean cost.rent.per_hour? (line 1)"),
        ("price_per_kwh: 1", "price_per_kwh: unknown key; did you mean cost.power.price_per_kwh? (line 1)"),
        ("cost:\n  price_per_kw: 1", "cost.price_per_kw: unknown key; did you mean cost.power.price_per_kwh? (line 2)"),
        ("log: {colour: red}", "log.colour: unknown key; known in log: level, format (line 1)"),
        (
            "server: {workload: latncy}",
            "server.workload: must be one of auto, latency, batch, edge, not `latncy`; did you mean latency? (line 1)",
        ),
        ("server: {gpus: al}", "server.gpus: must be auto, all or a list, not `al`; did you mean all? (line 1)"),
        ("server: {sampled: yes}", "server.sampled: must be auto, true or false, not `yes` (line 1)"),
        ("server: {gpus: {}}", "server.gpus: must be auto, all or a list, not a mapping (line 1)"),
        ("server: [a]", "server: must be a mapping, not a list (line 1)"),
        ("server: vllm", "server: must be a mapping, not `vllm` (line 1)"),
        ("gpu: {interval: 5}", "gpu.interval: must be a duration such as 30s, 5m or 1h30m, not `5` (line 1)"),
        ("gpu: {interval: 1ms}", "gpu.interval: must be at least 10ms, not 1ms (line 1)"),
        ("gpu: {timeout: 0s}", "gpu.timeout: must be above 0s, not 0s (line 1)"),
        ("ledger: {span_delay: 3m}", "ledger.span_delay: must be at most 2m, not 3m (line 1)"),
        ("sla: {default: {quantile: 99, ttft_seconds: 1}}", "sla.default.quantile: must be at most 1, not 99 (line 1)"),
        ("sla: {default: {quantile: 0, ttft_seconds: 1}}", "sla.default.quantile: must be above 0, not 0 (line 1)"),
        ("sla: {models: {m: {tpot_seconds: -1}}}", "sla.models.m.tpot_seconds: must be above 0, not -1 (line 1)"),
        ("sla: {models: {m: {ttft_second: 1}}}", "sla.models.m.ttft_second: unknown key; did you mean ttft_seconds? (line 1)"),
        ("sla: {models: {m: 4}}", "sla.models.m: must be a mapping, not the number `4` (line 1)"),
        ("cost: {currency: usd}", "cost.currency: `usd` doesn't match [A-Z]{3} (line 1)"),
        ("server: {name: two words}", "server.name: `two words` doesn't match [A-Za-z0-9_.:/-]{1,64} (line 1)"),
        ("gpu: {baseline_watts: {a: -1}}", "gpu.baseline_watts.a: must be at least 0, not -1 (line 1)"),
        ("gpu: {baseline_watts: [1]}", "gpu.baseline_watts: must be a number or a mapping, not a list (line 1)"),
        ("server: {gpus: [{share: 1}]}", "server.gpus[0]: `gpu` is missing (line 1)"),
        ("server: {gpus: [{gpu: 0, share: 2}]}", "server.gpus[0].share: must be at most 1, not 2 (line 1)"),
        ("server:\n  gpus:\n  - 0\n  - true", "server.gpus[1]: must be text, not the boolean `true`: quote it if it is meant (line 4)"),
        ("server: {gpus: [{gpu: [1]}]}", "server.gpus[0].gpu: must be text or a whole number, not a list (line 1)"),
        ("windows: [{label: 1h, seconds: 5}]", "windows[0]: must be a duration such as 30s, 5m or 1h30m, not a mapping (line 1)"),
        ("windows: 1h", "windows: must be a list, not `1h` (line 1)"),
        ("advice: {candidates: [null]}", "advice.candidates[0]: must be text, not null (line 1)"),
        ("forward: {headers: {a: [b]}}", "forward.headers.a: must be text, not a list (line 1)"),
        ("server: {kind: vllm}\nserver: {kind: triton}", "server: given twice, first on line 1 (line 2)"),
        ("sla: {models: {a: {ttft_seconds: 1}, a: {ttft_seconds: 2}}}", "sla.models.a: given twice, first on line 1 (line 1)"),
    ],
)
def test_each_problem_is_one_line_with_path_and_line(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_a_file_that_is_no_yaml_is_named() -> None:
    assert problems("a: [") == ["infermeter.yaml: line 1: not valid YAML: expected the node content, but found '<stream end>'"]


@pytest.mark.parametrize("text", ["[]", "vllm"])
def test_a_file_that_holds_no_sections_is_told_so(text: str) -> None:
    assert problems(text) == ["must be a mapping of sections such as `server:` and `cost:` (line 1)"]


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    text = "gpu:\n  interval: soon\nserver:\n  nmae: x\nwindows: [2h, 1h]\nlog:\n  level: loud\n"
    assert [line.partition(":")[0] for line in problems(text)] == ["gpu.interval", "server.nmae", "windows[1]", "log.level"]


def test_what_only_follows_from_an_unread_value_is_not_told() -> None:
    """A typo in `source` must not also be told as a missing source."""
    assert len(problems("cost: {currency: USD, as_of: 2026-07-20, sorce: list, rent: {per_hour: 2}}")) == 1


def test_every_key_of_the_contract_can_be_written_as_null() -> None:
    sections = {path.rpartition(".")[0] for path in known_paths()}
    for path in set(known_paths()) - sections:
        *above, key = path.split(".")
        text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(above))
        load_config(f"{text}{'  ' * len(above)}{key}: null\n", path)


words = st.sampled_from(
    ["null", "true", "yes", "5", "-1", "1.5", "30s", "auto", "x", "'q'", "[]", "[1h, 2]", "{}", "{a: 1}", "2026-07-20", "1e999"]
)


@given(st.sampled_from(known_paths()), words)
def test_any_value_anywhere_is_taken_or_told_in_lines_with_its_path(path: str, word: str) -> None:
    *above, key = path.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(above)) + f"{'  ' * len(above)}{key}: {word}\n"
    assert all(problem.startswith(path.partition(".")[0]) for problem in problems(text))
