{{/* Names and labels. Every template is given the chart's own scope, so that another chart can hand it .Subcharts.infermeter. */}}

{{- define "infermeter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "infermeter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "infermeter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "infermeter.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "infermeter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "infermeter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: infermeter
{{- end -}}

{{- define "infermeter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "infermeter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* What the pods are found by: of a sidecar a label of its own, since the others are those of the server. */}}
{{- define "infermeter.podSelector" -}}
{{- if eq .Values.mode "sidecar" -}}
{{ include "infermeter.sidecar.labels" . }}
{{- else -}}
{{ include "infermeter.selectorLabels" . }}
{{- end -}}
{{- end -}}

{{- define "infermeter.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "infermeter.configMap" -}}
{{ default (include "infermeter.fullname" .) .Values.existingConfigMap }}
{{- end -}}
