// Draws the report, and draws it again whenever a newer one comes. Whatever a report holds becomes text, never markup.
"use strict";
(() => {
const STALE_MS = 6000, POLL_MS = 10000, AGAIN_MS = 3000;
const STAGES = ["queue", "compute", "transfer", "serialisation", "other"];
const STAGE_KEYS = {queue: "k6", compute: "k1", transfer: "k5", serialisation: "k2", other: "k3"};
const STEPS = {
  capacity: ["served at full load", "k1"], low_load: ["busy below capacity", "k2"], busy: ["computing", "k1"],
  idle: ["nothing to do", "k3"], sla_missed: ["spent on misses", "k4"],
};
const GPU_STATES = {active: "k1", held_idle: "k6", idle: "k3", unknown: "k5"};
const USES = {active: "k1", idle: "k3", unattributed: "k5"};
const NO_DATE = "never";

// --- numbers as a person reads them: as the report for a terminal has them -----------------------------------------------------------
// toFixed rounds the number itself, as Python does, and not its shortest decimal, as toLocaleString does; but a tie up, not to even.
function grouped(value, decimals) {
  const fixed = value.toFixed(decimals), isTie = Math.abs(value * 2 ** (decimals + 1) % 2) === 1;
  const even = isTie && "13579".includes(fixed.at(-1)) ? (value - Math.sign(value) * 10 ** -decimals / 4).toFixed(decimals) : fixed;
  const [whole, part] = even.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part === undefined ? "" : `.${part}`);
}
function number(value, digits = 4) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-5 || size >= 1e9) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${+mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  return grouped(value, Math.min(12, Math.max(digits - 1 - Math.floor(Math.log10(size)), 0)));
}
const scaled = (value, units) => {
  const [unit, size] = units.find(([, least]) => Math.abs(value) >= least) ?? units[units.length - 1];
  return `${number(value / size, 3)}\u00a0${unit}`;
};
const count = (value) => grouped(value, 0);
const percent = (ratio) => `${grouped(100 * ratio, 1)}\u00a0%`;
const seconds = (value) => scaled(value, [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]);
const joules = (value) => scaled(value, [["GJ", 1e9], ["MJ", 1e6], ["kJ", 1e3], ["J", 1]]);
const watts = (value) => value >= 10000 ? `${number(value / 1000, 3)}\u00a0kW` : `${count(value)}\u00a0W`;
const gibibytes = (value) => grouped(value / 2 ** 30, 1);
const size = (value) => scaled(value, [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]]);
function span(value) {
  if (value > 0 && value < 10) return seconds(value);
  const whole = Math.round(value);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  return parts.filter(([n]) => n).slice(0, 2).map(([n, unit]) => `${n}\u00a0${unit}`).join(" ") || "0\u00a0s";
}
const instant = (unix) => new Date(unix * 1000).toISOString().slice(0, 19).replace("T", " ");
const words = (name) => name.replaceAll("_", " ");
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);

// --- reading a report ------------------------------------------------------------------------------------------------------------------
let report = null, chosen = null;
const rows = (family, labels = {}) =>
  (report[family] ?? []).filter((row) => Object.entries(labels).every(([name, text]) => row.labels[name] === text));
const value = (family, labels) => rows(family, labels)[0]?.value;
const about = () => report.report;
const models = () => rows("inferences_observed_total", {outcome: "ok"}).map((row) => row.labels.model);
const slaOf = (model) => about().sla.find((sla) => sla.model === model);
const windowNow = () => about().windows.find((window) => window.window === chosen) ?? about().windows[0];
const inWindow = (model) => windowNow()?.models.find((one) => one.model === model);
const total = (family, labels) => sum(rows(family, labels).map((row) => row.value));
const byReason = (family) => rows(family).filter((row) => row.value).map((row) => `${count(row.value)} ${words(row.labels.reason)}`);

// --- making elements -------------------------------------------------------------------------------------------------------------------
function fill(element, children) {
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes ?? {})) if (text !== null && text !== undefined) element.setAttribute(name, text);
  return fill(element, children);
}
function s(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, text] of Object.entries(attributes)) element.setAttribute(name, text);
  return fill(element, children);
}
const data = (of, raw, text) => h("data", {"data-of": of, value: raw, class: "nb"}, text);
const absent = (why) => h("span", {class: "absent"}, why);
const told = (of, raw, text, why = "not told") => raw === undefined || raw === null ? absent(why) : data(of, raw, text(raw));
const foreign = (text) => h("bdi", null, text);
const cell = (name, ...children) => h("td", {role: "cell", "data-name": name}, h("div", null, children));
const figure = (name, ...children) => h("td", {role: "cell", "data-name": name, class: "n"}, h("div", null, children));
const drawn = (...children) => h("td", {role: "cell", class: "wide"}, children);
const named = (kind, element) => { element.setAttribute("class", kind); return element; };
const rowHead = (...children) => h("th", {role: "rowheader", scope: "row"}, children);
const row = (key, ...cells) => h("tr", {role: "row", "data-key": key}, cells);
function table(caption, heads, body, foot) {
  const head = heads.map(([name, kind]) => h("th", {role: "columnheader", scope: "col", class: kind}, name));
  return h("table", {role: "table"}, h("caption", null, caption), h("thead", {role: "rowgroup"}, h("tr", {role: "row"}, head)),
    h("tbody", {role: "rowgroup"}, body), foot && h("tfoot", {role: "rowgroup"}, foot));
}

// --- drawing: beside every drawing stands what it says ---------------------------------------------------------------------------------
const svg = (kind, ...children) => s("svg", {class: kind, "aria-hidden": "true", focusable: "false"}, children);
const at = (ratio) => `${(100 * Math.min(Math.max(ratio, 0), 1)).toFixed(3)}%`;
const block = (kind, from, width) => s("rect", {class: kind, x: at(from), y: 0, width: at(width), height: "100%"});
const bar = (kind, ratio, from = 0, shape = "bar") => svg(shape, block("track", 0, 1), block(kind, from, ratio));
function stacked(parts) {
  let from = 0;
  return svg("bar", block("track", 0, 1), parts.map(([, kind, ratio]) => {
    const drawn = block(kind === "k3" ? "k3 gap" : `${kind} gap`, from, ratio);
    from += ratio;
    return drawn;
  }));
}
const swatch = (kind) => svg("swatch", s("rect", {class: kind, width: "100%", height: "100%"}));
const keys = (label, parts) => h("ul", {class: "keys", "aria-label": label}, parts.map(([name, kind, , ...texts]) => h("li", {"data-key": name}, swatch(kind), words(name), " ", texts)));

// --- what is missing, each with what to do ---------------------------------------------------------------------------------------------
function missing() {
  const lacks = [];
  const lack = (code, ...parts) => lacks.push(h("li", {"data-key": code}, parts));
  if (value("last_span_timestamp_seconds") === undefined)
    lack("spans", h("b", null, "No spans yet."), " Point the server’s OpenTelemetry exporter at this sidecar: ", h("code", null, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317"),
      " for gRPC, or port 4318 for HTTP, unless ", h("code", null, "listen"), " says otherwise. For a server without spans there is ", h("code", null, "infermeter proxy"), ".");
  else if (!models().length)
    lack("inferences", h("b", null, "Spans, but no inference."), " No mapping knows them: ", h("code", null, "infermeter mappings test"), " shows what one sees.");
  if (about().cost.per_hour === null)
    lack("prices", h("b", null, "No prices."), " Set ", h("code", null, "cost.rent"), " or ", h("code", null, "cost.purchase"), ", with ", h("code", null, "currency"), ", ",
      h("code", null, "as_of"), " and ", h("code", null, "source"), ". Where they are set, a finding below says what can’t be applied.");
  const without = models().filter((model) => !slaOf(model));
  if (without.length)
    lack("sla", h("b", null, "No SLA"), without.length === models().length ? "." : [" for ", without.slice(0, 3).map((model, i) => [i ? ", " : "", foreign(model)]), without.length > 3 ? ` and ${without.length - 3} more` : "", "."],
      " Set ", h("code", null, "sla.default.duration_seconds"), ", or a target of the model’s own under ", h("code", null, "sla.models"), ".");
  if (!about().gpus.length) {
    const [source] = rows("gpu_source_up");
    lack("gpus", h("b", null, "No GPU."), source === undefined ? [" Nothing is read: ", h("code", null, "gpu.source"), " found none, or is ", h("code", null, "none"), "."]
      : source.value ? [" ", source.labels.source, " answers, and sees none that is this server’s: ", h("code", null, "server.gpus"), " says which are."]
      : [" ", source.labels.source, " doesn’t answer."], " In a container it takes the driver’s utility capability; with dcgm-exporter: ", h("code", null, "gpu: {source: dcgm, url: ...}"), ".");
  }
  return lacks.length ? h("ul", {class: "missing", "aria-label": "Missing"}, lacks) : null;
}

// --- cost ------------------------------------------------------------------------------------------------------------------------------
const currency = () => about().cost.currency ?? "";
const money = (of, amount) => [data(of, amount, number(amount)), " ", currency()];
const thin = () => {
  const now = windowNow();
  return now.accrued_seconds < 30 ? `too early: ${span(now.accrued_seconds)} of the 30 s that a window needs` : "too little evidence in the window";
};
function whyNoCost(model) {
  const now = windowNow();
  if (about().cost.per_hour === null) return "no prices set";
  if (!now) return "no window configured";
  if (about().sampled && value("inferences_source", {source: "server"}) === undefined) return "spans are a sample, and nothing counts all";
  if (now.unpriced_seconds > 0.1 * now.accrued_seconds) return `unpriced for ${span(now.unpriced_seconds)} of the window`;
  const served = model === undefined ? now.inferences_ok : inWindow(model)?.inferences_ok ?? 0;
  return served === 0 && now.accrued_seconds >= 30 ? "no inference in the window" : served < 30 && now.accrued_seconds >= 30 ? `too few: ${count(served)} of the 30 that it takes` : thin();
}
function whyNoSla(model) {
  if (about().findings.some((finding) => finding.code === "coverage_biased" && finding.model === model)) return "spans are no fair sample";
  if (!slaOf(model)) return "no SLA set";
  const cost = value("window_cost_per_inference", {model, window: windowNow()?.window});
  return cost !== undefined ? "none was within the SLA" : whyNoCost(model);
}
const costs = (model) => {
  const labels = {model, window: windowNow()?.window};
  return {
    sla: value("window_cost_per_inference_at_sla", {...labels, basis: "goodput"}), each: value("window_cost_per_inference", labels),
    capacity: value("window_cost_per_inference_at_sla", {...labels, basis: "capacity"}), tokens: value("cost_per_million_tokens", labels), energy: value("energy_per_inference_joules", labels),
  };
};
// One unit for all that is compared: in which the least is at least 0.01 of the currency, or if they are too far apart the largest.
const UNITS = [[1, "inference"], [1e3, "1,000 inferences"], [1e6, "1,000,000 inferences"]];
function unitOf(amounts) {
  const known = amounts.filter((amount) => amount), least = Math.min(...known), largest = Math.max(...known);
  return UNITS.find(([times]) => least * times >= 0.01 && largest * times <= 1e6) ?? UNITS.find(([times]) => largest * times >= 0.01) ?? UNITS[known.length ? 2 : 0];
}
// What an inference costs over all models, at the SLA and now: where each step of the cost is known.
function together() {
  const now = windowNow(), steps = now ? rows("waterfall_cost", {window: now.window}).map((row) => row.value) : [];
  const over = (n) => steps.length && n ? sum(steps) / n : undefined;
  return [about().sla.length === models().length ? over(now?.inferences_within_sla) : undefined, over(now?.inferences_ok)];
}
function big(term, of, amount, [times, unit], why, under) {
  const shown = amount === undefined ? h("dd", null, absent(why))
    : h("dd", null, h("data", {class: "value", "data-of": of, value: amount}, number(amount * times)), " ", h("span", {class: "unit"}, `${currency()} per ${unit}`));
  return h("div", {"data-key": of}, h("dt", null, term), shown, h("dd", {class: "under"}, under));
}
const eachOf = (amount, [times]) => amount === undefined || times === 1 ? null : `${number(amount)} ${currency()} each · `;
const stretch = () => {
  const now = windowNow();
  return !now ? "No windows are configured." : Math.round(now.accrued_seconds) >= Math.round(now.seconds) ? `Last ${now.window}.` : `Last ${now.window}; holds ${span(now.accrued_seconds)}.`;
};
function cost() {
  const all = models();
  const hour = about().cost.per_hour;
  const rate = h("div", {"data-key": "hour"}, h("dt", null, "This server, an hour"),
    hour === null ? h("dd", null, absent("no prices set")) : h("dd", null, h("data", {class: "value", "data-of": "per-hour", value: hour}, number(hour)), " ", h("span", {class: "unit"}, `${currency()} per hour`)),
    h("dd", {class: "under"}, hour === null ? "" : [rows("cost_per_hour").map((row) => `${number(row.value)} ${words(row.labels.component)}`).join(" + "), h("br"), foreign(about().cost.source ?? ""), `, ${about().cost.as_of}`]));
  if (all.length <= 1) {
    const [model] = all, of = model === undefined ? {} : costs(model), unit = unitOf([of.sla, of.each, ...together()]);
    const why = model === undefined ? (hour === null ? "no prices set" : "no inference seen") : null;
    const energy = of.energy === undefined ? null : [data("joules", of.energy, joules(of.energy)), " each"];
    const tokens = of.tokens === undefined ? null : [money("tokens", of.tokens), " per 1M tokens"];
    return h("dl", {class: "figures"},
      big("At the SLA", "at-sla", of.sla, unit, why ?? whyNoSla(model), of.sla === undefined ? "" : [eachOf(of.sla, unit), "all cost over the inferences within the SLA"]),
      big("Now", "each", of.each, unit, why ?? whyNoCost(model), [eachOf(of.each, unit), tokens, tokens && energy && " · ", energy, of.capacity === undefined ? null : [" · at full load ", money("at-capacity", of.capacity)]]),
      rate);
  }
  const every = all.map(costs), unit = unitOf(every.flatMap((of) => [of.sla, of.each]));
  const judged = about().sla.length === all.length, [at, each] = together(), whole = unitOf([at, each]);
  const amount = (of, raw, why) => raw === undefined ? absent(why) : data(of, raw, number(raw * unit[0]));
  return [h("dl", {class: "figures"},
    big("At the SLA, all models", "at-sla-all", at, whole, judged ? whyNoCost() : "not every model has an SLA", at === undefined ? "" : "all cost over the inferences within the SLA"),
    big("Now, all models", "each-all", each, whole, whyNoCost(), each === undefined ? "" : "all cost over the inferences without error"), rate), table(`${currency() || "Cost"} per ${unit[1]}, by model`,
    [["model"], ["at the SLA", "n"], ["now", "n"], [`${currency()} per 1M tokens`, "n"], ["energy each", "n"]],
    all.map((model, i) => row(model, rowHead(foreign(model)), figure("at the SLA", amount("at-sla", every[i].sla, whyNoSla(model))), figure("now", amount("each", every[i].each, whyNoCost(model))),
      figure("1M tokens", told("tokens", every[i].tokens, number, "–")), figure("energy each", told("joules", every[i].energy, joules, "–")))))];
}

// --- the waterfall ---------------------------------------------------------------------------------------------------------------------
function waterfall() {
  const now = windowNow();
  const steps = now ? Object.keys(STEPS).flatMap((step) => rows("waterfall_cost", {window: now.window, step})) : [];
  if (!steps.length) return h("p", null, absent(now && about().cost.per_hour !== null && !models().length ? thin() : whyNoCost()));
  const all = sum(steps.map((step) => step.value));
  const judged = about().sla.length === models().length;
  const divisor = judged ? now.inferences_within_sla : now.inferences_ok;
  const [only, ...others] = models(), alone = only !== undefined && !others.length ? costs(only) : {}, unit = unitOf([alone.sla, alone.each, ...together()]);
  const each = (raw) => divisor ? data("step-each", raw / divisor, number(raw / divisor * unit[0])) : absent("–");
  const per = `per ${unit[1]}${judged ? " within the SLA" : ""}`;
  let from = 0;
  const body = steps.map(({labels: {step}, value: amount}) => {
    const share = all ? amount / all : 0, [meaning, kind] = STEPS[step];
    const line = row(step, rowHead(step === "sla_missed" ? "SLA missed" : words(step), h("small", null, meaning)), drawn(bar(kind, share, from)), figure("cost", data("step", amount, number(amount))),
      figure("share", data("step-share", share, percent(share))), figure(per, each(amount)));
    from += share;
    return line;
  });
  return named("trio", table(`Steps of the cost of the window, in ${currency()}: together they are all of it`, [["step"], [h("span", {class: "sr"}, "drawn")], ["cost", "n"], ["share", "n"], [per, "n"]], body,
    row("all", rowHead("together"), drawn(), figure("cost", data("step-all", all, number(all))), figure("share", all ? percent(1) : absent("–")), figure(per, each(all)))));
}

// --- the SLA ---------------------------------------------------------------------------------------------------------------------------
const STATES = {met: ["✓ met", "good"], missed: ["✕ missed", "bad"], insufficient: ["… insufficient", "mind"]};
const stateOf = (model) => rows("window_sla_state", {model, window: windowNow()?.window}).find((row) => row.value)?.labels.state;
function stateText(model) {
  const state = stateOf(model);
  if (state === undefined) return absent(!slaOf(model) ? "no SLA set" : windowNow() ? whyNoSla(model) === "spans are no fair sample" ? "spans are no fair sample" : "not judged yet" : "no window configured");
  return h("data", {class: `state ${STATES[state][1]}`, "data-of": "state", value: state}, STATES[state][0]);
}
function targets(model, sla) {
  const signals = ["duration", "ttft", "tpot"].filter((signal) => sla[`${signal}_seconds`] !== null);
  return signals.map((signal) => {
    const target = sla[`${signal}_seconds`], reached = value("window_latency_at_sla_quantile_seconds", {model, signal, window: windowNow()?.window});
    return h("div", {class: "target", "data-key": signal}, `${signal} `, told(`at-quantile-${signal}`, reached, seconds, "unknown"), " of ", data(`target-${signal}`, target, seconds(target)),
      reached === undefined ? null : h("span", {class: reached > target ? "bad" : "soft"}, reached > target ? " ✕ over" : ` (${percent(reached / target)})`),
      reached === undefined ? null : bar(reached > target ? "k4" : "k1", reached / target, 0, "thin"));
  });
}
function evidence(model, sla) {
  const of = inWindow(model), judged = of?.judged, allowed = 1 - sla.quantile_ratio;
  if (!judged) return absent(windowNow() ? thin() : "no window configured");
  const missed = judged.observed - judged.within_sla, most = Math.max(judged.miss_ratio_upper, 2 * allowed) * 1.05 || 1;
  const ratio = judged.observed ? missed / judged.observed : 0;
  const needs = judged.inferences_until_met;
  return [
    h("div", null, data("within", judged.within_sla, count(judged.within_sla)), " of ", data("observed", judged.observed, count(judged.observed)), " seen were within",
      judged.observed ? [" (", data("within-share", 1 - ratio, percent(1 - ratio)), ")"] : null),
    svg("bar", block("track", 0, 1), s("line", {class: "line", x1: at(judged.miss_ratio_lower / most), x2: at(judged.miss_ratio_upper / most), y1: "50%", y2: "50%"}),
      s("circle", {class: "dot", cx: at(ratio / most), cy: "50%", r: 4}), s("line", {class: "mark", x1: at(allowed / most), x2: at(allowed / most), y1: "-25%", y2: "125%"})),
    h("small", null, "misses: ", data("miss-lower", judged.miss_ratio_lower, percent(judged.miss_ratio_lower)), " to ", data("miss-upper", judged.miss_ratio_upper, percent(judged.miss_ratio_upper)),
      ` (bounds at ${number(100 * judged.confidence, 2)}\u00a0%), allowed ${number(100 * allowed, 2)}\u00a0%`),
    stateOf(model) === "insufficient" ? h("small", {class: "mind"}, needs === null ? "no number of further ones can prove it met" : ["at least ", data("until-met", needs, count(needs)), ` more, all of them within, until it is met`]) : null,
  ];
}
function capacity(model) {
  const of = about().capacity.find((one) => one.model === model);
  if (!of || (of.observed_per_second === null && of.modelled_per_second === null)) return absent("unknown yet");
  return [of.observed_per_second === null ? null : h("div", null, data("capacity", of.observed_per_second, number(of.observed_per_second)), "/s", h("small", null, of.reached ? "observed: more was tried, and missed" : "observed: a lower bound")),
    of.modelled_per_second === null ? null : h("div", null, data("capacity-modelled", of.modelled_per_second, number(of.modelled_per_second)), "/s", h("small", null, "modelled"))];
}
function sla() {
  const judged = models().filter(slaOf), without = models().filter((model) => !slaOf(model));
  if (!judged.length) return h("p", null, absent(models().length ? "no SLA set" : "no inference seen"));
  const peak = value("peak_load_ratio"), load = value("window_load_ratio", {window: windowNow()?.window});
  return [named("verdicts", table("Verdicts on the server, not on the sample: met or missed only where the bound shows it",
    [["model"], ["state"], ["at the quantile"], ["evidence"], ["could do, at the SLA", "n"]],
    judged.map((model) => row(model, rowHead(foreign(model)), cell("state", stateText(model)),
      cell("at the quantile", h("div", null, data("quantile", slaOf(model).quantile_ratio, `at ${number(100 * slaOf(model).quantile_ratio, 2)} %`)), targets(model, slaOf(model))),
      cell("evidence", evidence(model, slaOf(model))), figure("could do", capacity(model)))))),
    without.length ? h("p", {class: "soft"}, "No SLA: ", without.map((model, i) => [i ? ", " : "", foreign(model)]), ".") : null,
    peak === undefined && load === undefined ? null : h("p", null, "Load: ", load === undefined ? null : [data("load", load, percent(load)), " of capacity in the window"], peak === undefined || load === undefined ? null : ", ",
      peak === undefined ? null : [data("peak-load", peak, percent(peak)), " at the peak", peak > 0 && peak < 1 ? `: it could do ${number(1 / peak)} times as much` : ""], ".")];
}

// --- stages ----------------------------------------------------------------------------------------------------------------------------
const QUALITIES = {estimated: "estimated", fallback: "by the server’s own metrics"};
function stagesOf(model) {
  const of = inWindow(model), now = windowNow();
  const some = (held) => sum(Object.values(held)) > 0;
  if (of && some(of.stage_seconds)) return [of.stage_seconds, of.signal_inferences.duration, `last ${now.window}`, value("dominant_stage", {model, window: now.window})];
  const since = {}, counts = [];
  for (const row of rows("stage_duration_seconds", {model})) if (row.count) { since[row.labels.stage] = row.sum; counts.push(row.count); }
  return some(since) ? [since, Math.max(...counts), "since the start"] : null;
}
function time() {
  const qualities = Object.fromEntries(rows("stage_quality").map((row) => [row.labels.stage, row.labels.quality]));
  if (!models().length) return h("p", null, absent("no inference seen"));
  return models().map((model) => {
    const known = stagesOf(model), claimed = new Set(rows("stage_duration_seconds", {model}).map((row) => row.labels.stage));
    const ok = value("inferences_observed_total", {model, outcome: "ok"}), errors = value("inferences_observed_total", {model, outcome: "error"}) ?? 0;
    const seen = h("span", {class: "soft"}, "since the start ", data("ok", ok, count(ok)), " ok, ", data("errors", errors, plural(errors, "error")));
    const name = h("h3", null, foreign(model));
    if (!known) return h("div", {class: "model", "data-key": model}, h("div", {class: "title"}, name, seen), h("p", null, absent("no duration told yet")));
    const [held, inferences, when] = known, all = sum(Object.values(held));
    const parts = STAGES.filter((stage) => held[stage] || claimed.has(stage) || stage === "other").map((stage) => {
      const took = held[stage] ?? 0, ratio = took / all, quality = QUALITIES[qualities[stage]];
      return [stage, STAGE_KEYS[stage], ratio, h("b", null, data(`stage-${stage}`, ratio, percent(ratio))), inferences ? [" ", data(`mean-${stage}`, took / inferences, seconds(took / inferences))] : null, quality ? h("span", {class: "soft"}, ` ${quality}`) : null];
    });
    const [most, , ratio] = parts.reduce((a, b) => b[2] > a[2] ? b : a);
    const untold = STAGES.filter((stage) => !parts.some((part) => part[0] === stage));
    return h("div", {class: "model", "data-key": model},
      h("div", {class: "title"}, name, h("span", null, "mostly ", h("b", null, h("data", {"data-of": "dominant", value: most}, most)), `, ${percent(ratio)} · ${when}`), seen),
      stacked(parts), keys("Stages", parts), untold.length ? h("small", null, `not told by this server: ${untold.join(", ")}`) : null);
  });
}

// --- GPUs ------------------------------------------------------------------------------------------------------------------------------
function gpus() {
  const every = about().gpus;
  if (!every.length) return h("p", null, absent("none was seen"));
  const now = about().end_unix_seconds;
  const body = every.map((gpu) => {
    const of = {gpu_uuid: gpu.gpu_uuid}, power = value("gpu_power_watts", of), busy = value("gpu_utilisation_ratio", of), read = value("gpu_last_sample_timestamp_seconds", of);
    const used = value("gpu_memory_used_bytes", of), memory = value("gpu_memory_total_bytes", of), limit = value("gpu_power_limit_watts", of) ?? gpu.power_limit_watts;
    const spent = Object.fromEntries(rows("gpu_state_seconds_total", of).map((row) => [row.labels.state, row.value])), all = sum(Object.values(spent));
    const states = Object.keys(GPU_STATES).filter((state) => spent[state]).map((state) => [state, GPU_STATES[state], spent[state] / all, data(`gpu-${state}`, spent[state] / all, percent(spent[state] / all))]);
    const throttled = rows("gpu_throttled_seconds_total", of).filter((row) => row.value).map((row) => `${words(row.labels.reason)} ${span(row.value)}`);
    const unread = gpu.up ? "not told" : "stale";
    return row(gpu.gpu_uuid,
      rowHead(gpu.index === null ? null : `${gpu.index} `, foreign(gpu.product ?? gpu.gpu_uuid), h("small", null, foreign(gpu.gpu_uuid), ` · ${gpu.source}`, gpu.energy ? `, energy ${gpu.energy}` : "",
        gpu.share_ratio < 1 ? ` · ${percent(gpu.share_ratio)} is this server’s` : "", gpu.assumed ? " · nothing says that it is this server’s" : "", throttled.length ? ` · throttled: ${throttled.join(", ")}` : "")),
      figure("power", told("power", power, watts, unread), limit && power !== undefined ? [bar("k1", power / limit, 0, "thin"), h("small", null, `of ${watts(limit)}`)] : null),
      figure("utilisation", told("utilisation", busy, percent, unread), busy === undefined ? null : bar("k1", busy, 0, "thin")),
      figure("memory", used === undefined ? absent(unread) : [data("memory", used, gibibytes(used)), memory ? ` of ${gibibytes(memory)}` : "", " GiB", memory ? bar("k2", used / memory, 0, "thin") : null]),
      h("td", {role: "cell", class: "wide", "data-name": "since the start"}, h("div", null, all ? [stacked(states), keys("States", states)] : absent("nothing settled yet"))),
      figure("last read", gpu.up ? null : h("b", {class: "bad"}, "✕ stale "), read === undefined ? absent(NO_DATE) : data("gpu-age", now - read, `${span(Math.max(0, now - read))} ago`)));
  });
  const used = {};
  for (const row of rows("energy_joules_total")) used[row.labels.use] = (used[row.labels.use] ?? 0) + row.value;
  const all = sum(Object.values(used));
  const parts = Object.keys(USES).filter((use) => use in used).map((use) => [use, USES[use], all ? used[use] / all : 0, data(`energy-${use}`, used[use], joules(used[use])), all ? ` ${percent(used[use] / all)}` : ""]);
  return [named("gpus trio", table("Power, utilisation and memory as last read; the share of time by state since the start", [["GPU"], ["power", "n"], ["utilisation", "n"], ["memory", "n"], ["state"], ["last read", "n"]], body)),
    h("div", {class: "model", "data-key": "energy"}, h("div", {class: "title"}, h("h3", null, "Energy"), all ? h("span", {class: "soft"}, data("energy", all, joules(all)), " since the start, this server’s share") : absent(parts.length ? "none is settled yet" : "no GPU told its power")),
      all ? [stacked(parts), keys("Energy by use", parts)] : null)];
}

// --- findings --------------------------------------------------------------------------------------------------------------------------
const shown = (raw) => typeof raw === "string" ? foreign(raw) : raw % 1 ? number(raw) : grouped(raw, 0);
function findings() {
  const every = about().findings;
  if (!every.length) return h("p", null, absent("none: nothing was proven, which doesn’t say that all is well"));
  const first = [...every].sort((a, b) => (b.level === "warning") - (a.level === "warning") || (b.saving_per_hour ?? 0) - (a.saving_per_hour ?? 0));
  return first.map((finding) => h("article", {class: `finding ${finding.level}`, "data-key": `${finding.code} ${finding.model ?? ""}`},
    h("div", {class: "title"}, h("h3", null, h("span", {class: finding.level === "warning" ? "mind" : "soft"}, finding.level === "warning" ? "▲ warning: " : "○ info: "), finding.code, finding.model === null ? null : [" · ", foreign(finding.model)]),
      finding.saving_per_hour === null ? null : h("b", {class: "good"}, "would save ", data("saving", finding.saving_per_hour, number(finding.saving_per_hour)), ` ${currency()} an hour`)),
    h("dl", null,
      h("dt", null, "seen"), h("dd", null, h("ul", {class: "evidence"}, Object.entries(finding.evidence).map(([name, raw]) => h("li", {"data-key": name}, h("span", {class: "soft"}, `${words(name)} `), shown(raw))))),
      h("dt", null, "do"), h("dd", null, finding.what_to_do),
      h("dt", null, "gone when"), h("dd", null, finding.falsified_by))));
}

// --- health of what it rests on --------------------------------------------------------------------------------------------------------
const SIGNS = {ok: ["✓", "good", "fine"], look: ["!", "mind", "look at it"], none: ["–", "soft", "not in use"]};
function inputs() {
  const now = about().end_unix_seconds, losses = about().losses, lines = [];
  const line = (name, sign, ...parts) => lines.push(h("div", {"data-key": name},
    h("dt", {class: `sign ${SIGNS[sign][1]}`}, h("span", {"aria-hidden": "true"}, SIGNS[sign][0]), h("span", {class: "sr"}, `${name}, ${SIGNS[sign][2]}`)), h("dd", {class: "soft", "aria-hidden": "true"}, name), h("dd", null, parts)));
  const reasons = (texts) => texts.length ? texts.join(", ") : "none";
  const received = total("spans_received_total"), last = value("last_span_timestamp_seconds");
  line("spans", last === undefined ? "look" : "ok", data("spans", received, count(received)), ` received (${rows("spans_received_total").filter((row) => row.value).map((row) => `${count(row.value)} ${row.labels.protocol}`).join(", ") || "none"})`,
    last === undefined ? "" : [", the newest ", data("span-age", now - last, `${span(Math.max(0, now - last))} ago`)]);
  const dropped = total("spans_dropped_total"), unmapped = total("spans_unmapped_total"), refused = total("exports_refused_total");
  line("spans dropped", dropped ? "look" : "ok", data("dropped", dropped, reasons(byReason("spans_dropped_total"))));
  line("spans unmapped", unmapped > received / 2 ? "look" : "ok", data("unmapped", unmapped, reasons(byReason("spans_unmapped_total"))), unmapped ? h("small", null, "they became no inference") : null);
  line("exports refused", refused ? "look" : "ok", data("refused", refused, reasons(byReason("exports_refused_total"))));
  const pending = value("traces_pending"), most = value("traces_pending_limit");
  if (pending !== undefined) line("traces pending", most && pending > 0.8 * most ? "look" : "ok", data("pending", pending, count(pending)), most === undefined ? "" : ` of at most ${count(most)}`);
  const coverage = value("span_coverage_ratio"), up = value("server_scrape_up");
  line("coverage", coverage === undefined ? about().sampled ? "look" : "none" : coverage < 0.9 ? "look" : "ok", coverage === undefined ? absent(up === undefined ? "unknown: no server.metrics_url is set" : "unknown yet: the server’s own count isn’t known")
    : [data("coverage", coverage, percent(coverage)), " of the inferences that the server counted were seen"], about().sampled ? h("small", null, "spans are a sample") : null);
  line("server metrics", up === undefined ? "none" : up ? "ok" : "look", up === undefined ? absent("no server.metrics_url is set") : data("scrape", up, up ? "answered last time" : "did not answer last time"));
  const [source] = rows("gpu_source_up"), ages = rows("gpu_last_sample_timestamp_seconds").map((row) => now - row.value), stale = about().gpus.filter((gpu) => !gpu.up).length;
  line("GPU readings", source === undefined ? "none" : !source.value || stale || !ages.length ? "look" : "ok", source === undefined ? absent("no source is in use") : [source.labels.source, source.value ? " answers" : " doesn’t answer",
    ages.length ? [", oldest reading ", data("gpu-oldest", Math.max(...ages), `${span(Math.max(0, ...ages))} ago`)] : "", stale ? `, ${stale} of ${about().gpus.length} stale` : ""],
    Object.keys(losses.gpu_samples_rejected).length ? h("small", null, "rejected: ", byReason("gpu_samples_rejected_total").join(", ")) : null);
  const priced = value("price_timestamp_seconds"), old = about().findings.some((finding) => finding.code === "price_stale");
  line("prices", about().cost.per_hour === null || old ? "look" : "ok", about().cost.per_hour === null ? absent("no prices set") : [priced === undefined ? null : [data("price-age", now - priced, `${span(Math.max(0, now - priced))} old`), ", "], foreign(about().cost.source ?? ""), about().cost.as_of ? `, ${about().cost.as_of}` : ""]);
  const settled = about().settled_unix_seconds;
  line("settled", settled === null ? "none" : "ok", settled === null ? absent("nothing yet: energy, and money by use, wait for late spans") : [data("settled", settled, instant(settled)), ", ", span(Math.max(0, now - settled)), " behind"],
    losses.inferences_late ? h("small", null, `${plural(losses.inferences_late, "inference")} too late for the window`) : null, losses.unknown_seconds ? h("small", null, `no cost booked for ${span(losses.unknown_seconds)}`) : null);
  const forwarded = value("spans_forwarded_total"), lost = total("spans_forward_dropped_total"), queue = value("forward_queue_bytes"), room = value("forward_queue_limit_bytes");
  line("forward", forwarded === undefined ? "none" : lost ? "look" : "ok", forwarded === undefined ? absent("no forward.endpoint is set") : [data("forwarded", forwarded, count(forwarded)), " spans passed on", lost ? `, lost: ${byReason("spans_forward_dropped_total").join(", ")}` : "",
    queue === undefined ? null : h("small", null, `queue ${size(queue)}${room === undefined ? "" : ` of ${size(room)}`}`)]);
  const series = about().series;
  if (series) line("series", series.told > series.limit ? "look" : "ok", data("series", series.told, count(series.told)), ` of at most ${count(series.limit)}`, series.told > series.limit ? h("small", null, "/metrics leaves optional ones out: raise limits.series") : null);
  const loaded = value("config_last_reload_success_timestamp_seconds"), fresh = value("config_last_reload_successful");
  line("configuration", fresh === undefined ? "none" : fresh ? "ok" : "look", fresh === undefined ? absent("not told") : [fresh ? "in force since " : "the last one offered was refused; in force since ", loaded === undefined ? "the start" : data("config", loaded, instant(loaded))]);
  const broken = value("state_files_rejected_total");
  line("state file", broken === undefined ? "none" : broken ? "look" : "ok", broken === undefined ? absent("no state_file is set: what is learnt ends with the process") : broken ? "was broken, and renamed away" : "fine");
  return h("dl", {class: "health"}, lines);
}

// --- in one line -----------------------------------------------------------------------------------------------------------------------
function summary() {
  const of = {met: 0, missed: 0, insufficient: 0};
  for (const model of models()) { const state = stateOf(model); if (state) of[state] += 1; }
  const judged = of.met + of.missed + of.insufficient, worst = of.missed ? "missed" : of.insufficient ? "insufficient" : "met";
  const warnings = about().findings.filter((finding) => finding.level === "warning").length, every = about().findings.length;
  const power = rows("gpu_power_watts").map((row) => row.value), running = value("server_running_inferences"), waiting = value("server_waiting_inferences");
  const [bound] = rows("resource_bound").filter((row) => row.value);
  return [
    h("span", null, "SLA ", judged ? h("b", {class: STATES[worst][1]}, judged === 1 ? STATES[worst][0] : `${STATES[worst][0]}: ${of[worst]} of ${judged} models`) : absent("not judged")),
    h("span", null, h("a", {href: "#h-findings"}, plural(every, "finding")), warnings ? h("b", {class: "mind"}, ` ▲ ${plural(warnings, "warning")}`) : ""),
    h("span", null, about().gpus.length ? plural(about().gpus.length, "GPU") : "no GPU", power.length ? [", ", h("b", null, watts(sum(power)))] : ""),
    bound && bound.labels.resource !== "unknown" ? h("span", null, "bound by ", h("b", null, bound.labels.resource)) : null,
    running === undefined ? null : h("span", null, h("b", null, count(running)), " running", waiting === undefined ? "" : [", ", h("b", null, count(waiting)), " waiting"]),
  ];
}

// --- onto the page: what is there is changed, not replaced, so that focus, selection and a reader's place stay ---------------------------
const $ = (id) => document.getElementById(id);
const keyOf = (node) => node.nodeType === 1 ? node.getAttribute("data-key") : null;
function patch(old, fresh) {
  if (old.nodeType !== 1) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const name of fresh.getAttributeNames()) if (old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
  become(old, fresh);
}
function become(old, fresh) {
  const keyed = new Map([...old.childNodes].filter((node) => keyOf(node) !== null).map((node) => [keyOf(node), node]));
  let here = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    const found = key !== null ? keyed.get(key) : here && keyOf(here) === null ? here : undefined;
    if (found && found.nodeName === wanted.nodeName) {
      if (found === here) here = here.nextSibling; else old.insertBefore(found, here);
      patch(found, wanted);
    } else old.insertBefore(wanted, here);
  }
  while (here) { const next = here.nextSibling; here.remove(); here = next; }
}
const show = (id, ...children) => become($(id), fill(document.createDocumentFragment(), children));
const say = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

function choices() {
  const every = about().windows;
  $("windows").hidden = every.length < 2;
  if (every.length > 1) show("choices", every.map(({window}) => h("label", {"data-key": window}, h("input", {type: "radio", name: "window", value: window}), window)));
  for (const input of $("choices").querySelectorAll("input")) input.checked = input.value === windowNow()?.window;
}
function draw() {
  const of = about(), all = models();
  document.title = `${of.server} · Infermeter`;
  show("server", foreign(of.server));
  show("about", `${of.server_kind ?? "kind: auto"} · Infermeter ${of.version} · ${of.kind === "replay" ? "a replay of" : "counting since"} ${instant(of.start_unix_seconds)} UTC, ${span(Math.max(0, of.end_unix_seconds - of.start_unix_seconds))}`);
  show("clock", h("time", {datetime: new Date(of.end_unix_seconds * 1000).toISOString()}, `${instant(of.end_unix_seconds)} UTC`));
  choices();
  show("summary", summary()); show("missing", missing());
  show("cost", cost()); show("money", waterfall()); show("sla", sla()); show("time", time());
  show("gpus", gpus()); show("findings", findings()); show("inputs", inputs());
  const judged = of.sla.length && of.sla.length === all.length;
  say("n-cost", stretch());
  say("n-money", `${stretch()} ${judged ? "Divided by the inferences within the SLA, the steps are the cost at the SLA." : ""}`.trim());
  say("n-sla", stretch());
  say("n-time", "Of the inferences that were seen. The stages and other add up to the duration; other is what no stage claims.");
  say("n-gpus", "Of the whole device. Held idle: no work, but a model resident on it.");
  say("n-findings", of.findings.some((finding) => finding.saving_per_hour !== null) ? "What was proven, with its evidence. Savings overlap." : "What was proven, with its evidence.");
  say("n-inputs", "Whether what is above can be believed.");
  $("figures").hidden = false;
}

// --- the newest report: pushed; asked for where pushing doesn't come through ------------------------------------------------------------
let drawnText = null, stream = null, pushedAt = -Infinity, newAt = null, trouble = null, asking = false, askedAt = -Infinity, heardAt = performance.now();
const startedAt = performance.now();
function take(text, pushed) {
  const first = report === null;
  try { if (text !== drawnText) { report = JSON.parse(text); draw(); drawnText = text; } } catch (error) {
    if (first) report = null;
    drawnText = null;
    trouble = "The report can’t be drawn";
    console.error(error);
    return look();
  }
  newAt = new Date();
  heardAt = performance.now();
  if (pushed) pushedAt = heardAt;
  trouble = null;
  look();
}
async function ask() {
  if (asking) return;
  asking = true;
  askedAt = performance.now();
  const abort = new AbortController(), timer = setTimeout(() => abort.abort(), STALE_MS);
  try {
    const answer = await fetch("/api/v1/report", {signal: abort.signal, cache: "no-store"});
    if (answer.ok) { const text = await answer.text(); if (report === null || performance.now() - pushedAt > STALE_MS) take(text, false); }
    else trouble = `The sidecar answers ${answer.status} to /api/v1/report`;
  } catch { trouble = "The sidecar doesn’t answer"; } finally { clearTimeout(timer); asking = false; look(); }
}
function listen() {
  stream?.close();
  stream = new EventSource("/api/v1/report/events");
  stream.addEventListener("report", (event) => take(event.data, true));
  const mine = stream;
  stream.onerror = () => {
    if (mine !== stream) return;
    if (mine.readyState === EventSource.CLOSED) { stream = null; setTimeout(listen, AGAIN_MS); }
    ask(); // whether the sidecar is gone, or only its stream
  };
}
// What the link is like is said when it changes; how long it has been silent is shown, and read to nobody.
function look() {
  const now = performance.now(), pushed = now - pushedAt < STALE_MS, fresh = newAt !== null && trouble === null && now - heardAt < (pushed ? STALE_MS : POLL_MS + STALE_MS);
  const early = now - startedAt < STALE_MS, silent = newAt === null && trouble === null;
  const state = fresh && pushed ? "live" : early && (fresh || silent) ? "wait" : fresh ? "polled" : "lost";
  say("link", {live: "live", polled: "asked for every 10 s", wait: "reading the report…", lost: newAt === null ? "no report" : "stale"}[state]);
  if ($("link").className !== `link ${state}`) $("link").className = `link ${state}`;
  document.body.className = state;
  $("stale").hidden = state !== "lost";
  if (state === "lost") {
    const why = trouble ?? "Nothing arrives";
    show("stale", h("b", null, "✕ "), newAt === null ? `${why}. ` : `Stale since ${newAt.toISOString().slice(11, 19)} UTC. ${why}; the figures below are from then. `, "It is tried again every few seconds. ",
      newAt === null ? null : h("span", {"aria-hidden": "true", class: "soft"}, `(${span((now - heardAt) / 1000)} ago)`));
  }
}
$("choices").addEventListener("change", (event) => { chosen = event.target.value; draw(); });
setInterval(() => {
  const now = performance.now(), silent = now - pushedAt > STALE_MS;
  if (silent && now - askedAt > (trouble === null && newAt !== null ? POLL_MS : AGAIN_MS)) ask();
  look();
}, 1000);
ask();
listen();
})();
