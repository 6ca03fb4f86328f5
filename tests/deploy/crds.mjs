// Validates custom resources of prometheus-operator and KEDA: a JSON list on standard input, [[where, object], ...]; what is wrong goes to
// standard output.
import { readFileSync } from "node:fs";
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1/index";

const models = { ...operator, ...keda };

for (const [where, object] of JSON.parse(readFileSync(0, "utf8"))) {
  const Model = models[object.kind];
  if (Model === undefined) {
    console.log(`${where}: no model of ${object.kind}`);
    continue;
  }
  try {
    new Model(object).validate();
  } catch (error) {
    console.log(`${where}: ${error.message.split("\n")[0]}`);
  }
}
