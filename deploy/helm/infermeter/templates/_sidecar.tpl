{{/*
For the chart of an inference server, which has this one as a dependency called infermeter:

  metadata:
    labels:
      {{- include "infermeter.sidecar.labels" .Subcharts.infermeter | nindent 8 }}
  spec:
    initContainers:
      {{- include "infermeter.sidecar.initContainer" .Subcharts.infermeter | nindent 8 }}
    volumes:
      {{- include "infermeter.volumes" .Subcharts.infermeter | nindent 8 }}

Before Kubernetes 1.29 set sidecar.native: false, and include "infermeter.sidecar.container" below `containers`.
*/}}

{{- define "infermeter.sidecar.labels" -}}
infermeter: {{ default (include "infermeter.fullname" .) .Values.sidecar.podLabel | quote }}
{{- end -}}

{{- define "infermeter.sidecar.initContainer" -}}
{{- if .Values.sidecar.native -}}
- name: infermeter
  restartPolicy: Always
  {{- include "infermeter.container" . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "infermeter.sidecar.container" -}}
{{- if not .Values.sidecar.native -}}
- name: infermeter
  {{- include "infermeter.container" . | nindent 2 }}
  # Both containers are told to end at the same time: the meter waits for the server's last spans.
  lifecycle:
    preStop:
      exec:
        command: [python3, -c, import time; time.sleep(20)]
{{- end -}}
{{- end -}}

{{/* Root, without any capability, where the kubelet's socket or the host's counters are mounted: both are root's. */}}
{{- define "infermeter.isRoot" -}}
{{- if or .Values.gpu.podResources .Values.hostPower }}true{{ end -}}
{{- end -}}

{{- define "infermeter.container" -}}
image: {{ include "infermeter.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [infermeter]
args: [serve, --config, /etc/infermeter/config.yaml]
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: NODE_NAME
    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  {{- if .Values.gpu.visible }}
  - {name: NVIDIA_VISIBLE_DEVICES, value: all}
  - {name: NVIDIA_DRIVER_CAPABILITIES, value: utility}
  {{- end }}
  {{- if eq .Values.mode "daemonset" }}
  - name: INFERMETER_SERVER_NAME
    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: infermeter, containerPort: 10470, protocol: TCP}
  {{- if and .Values.service.otlp (ne .Values.mode "sidecar") }}
  - {name: otlp-grpc, containerPort: 4317, protocol: TCP}
  - {name: otlp-http, containerPort: 4318, protocol: TCP}
  {{- end }}
startupProbe:
  httpGet: {path: /-/ready, port: infermeter}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /-/healthy, port: infermeter}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /-/ready, port: infermeter}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: {{ eq .Values.mode "sidecar" | ternary 30 3 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- if include "infermeter.isRoot" . }}
  runAsNonRoot: false
  runAsUser: 0
  runAsGroup: 0
  {{- else }}
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  {{- end }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
  - {name: infermeter-config, mountPath: /etc/infermeter, readOnly: true}
  - {name: infermeter-state, mountPath: /var/lib/infermeter}
  {{- if .Values.gpu.podResources }}
  - {name: infermeter-pod-resources, mountPath: /var/lib/kubelet/pod-resources, readOnly: true}
  {{- end }}
  {{- if .Values.hostPower }}
  - {name: infermeter-powercap, mountPath: /host/sys/class/powercap, readOnly: true}
  - {name: infermeter-powercap-devices, mountPath: /host/sys/devices/virtual/powercap, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "infermeter.volumes" -}}
- name: infermeter-config
  configMap: {name: {{ include "infermeter.configMap" . | quote }}}
- name: infermeter-state
  {{- if and (eq .Values.state.kind "persistentVolumeClaim") (eq .Values.mode "deployment") }}
  persistentVolumeClaim: {claimName: {{ default (include "infermeter.fullname" .) .Values.state.existingClaim | quote }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.state.size }}}
  {{- end }}
{{- if .Values.gpu.podResources }}
- name: infermeter-pod-resources
  hostPath: {path: /var/lib/kubelet/pod-resources, type: Directory}
{{- end }}
{{- if .Values.hostPower }}
- name: infermeter-powercap
  hostPath: {path: /sys/class/powercap, type: Directory}
- name: infermeter-powercap-devices
  hostPath: {path: /sys/devices/virtual/powercap, type: Directory}
{{- end }}
{{- end -}}
