{{/* What every pod of Millrace is made of. */}}

{{/* No root, no capabilities, nothing to write to. */}}
{{- define "millrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "millrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Certificates to trust, as files. Takes root and component. */}}
{{- define "millrace.certificates" -}}
{{- $values := .root.Values -}}
{{- $files := list -}}
{{- if and $values.redis.tls.enabled $values.redis.tls.caSecret (ne .component "migrate") -}}
{{- $files = append $files (dict "name" "redis-ca" "secret" $values.redis.tls.caSecret "key" $values.redis.tls.caKey) -}}
{{- end -}}
{{- if and $values.database.tls.caSecret (has .component (list "control-plane" "migrate")) -}}
{{- $files = append $files (dict "name" "database-ca" "secret" $values.database.tls.caSecret "key" $values.database.tls.caKey) -}}
{{- end -}}
{{- if and $values.telemetry.endpoint $values.telemetry.tls.caSecret (ne .component "migrate") -}}
{{- $files = append $files (dict "name" "telemetry-ca" "secret" $values.telemetry.tls.caSecret "key" $values.telemetry.tls.caKey) -}}
{{- end -}}
{{- toYaml (dict "files" $files) -}}
{{- end -}}

{{- define "millrace.volumeMounts" -}}
{{- with (include "millrace.certificates" . | fromYaml).files -}}
volumeMounts:
  {{- range . }}
  - name: {{ .name }}
    mountPath: /etc/millrace/{{ .name }}
    readOnly: true
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "millrace.volumes" -}}
{{- with (include "millrace.certificates" . | fromYaml).files -}}
volumes:
  {{- range . }}
  - name: {{ .name }}
    secret:
      secretName: {{ .secret }}
      items:
        - key: {{ .key }}
          path: ca.crt
  {{- end }}
{{- end -}}
{{- end -}}

{{/* How the kubelet asks: the admin port answers as soon as the process serves. */}}
{{- define "millrace.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{/* Spread over zones and nodes, each release of the pods by itself. */}}
{{- define "millrace.topologySpread" -}}
{{- $context := . -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ $context.values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "millrace.selector" $context | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{/* Where pods may run. */}}
{{- define "millrace.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Container of a service. */}}
{{- define "millrace.container" -}}
{{- $root := .root -}}
{{- $ports := index (include "millrace.ports" $root | fromYaml) .component -}}
- name: {{ .component }}
  image: {{ include "millrace.image" $root | quote }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  args: [{{ .component }}]
  envFrom:
    - configMapRef:
        name: {{ include "millrace.component" . }}
  env:
    {{- include "millrace.secretVariables" . | trim | nindent 4 }}
    {{- if eq .component "deliverer" }}
    - name: POD_IP
      valueFrom:
        fieldRef:
          fieldPath: status.podIP
    - name: MILLRACE__DELIVERER__ADVERTISE
      value: {{ ternary "[$(POD_IP)]:8082" "$(POD_IP):8082" (eq $root.Values.ipFamily "IPv6") | quote }}
    {{- end }}
    {{- if $root.Values.telemetry.endpoint }}
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: OTEL_RESOURCE_ATTRIBUTES
      value: service.instance.id=$(POD_NAME),k8s.pod.name=$(POD_NAME),k8s.namespace.name={{ $root.Release.Namespace }}
    {{- end }}
    {{- with .values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: serve
      containerPort: {{ $ports.listen }}
    - name: admin
      containerPort: {{ $ports.admin }}
  {{- include "millrace.probes" . | nindent 2 }}
  lifecycle:
    preStop:
      sleep:
        seconds: {{ int $root.Values.shutdown.preStopSeconds }}
  resources:
    {{- toYaml .values.resources | nindent 4 }}
  securityContext:
    {{- include "millrace.containerSecurity" . | nindent 4 }}
  {{- with include "millrace.volumeMounts" . }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Deployment of a service. Takes root, component and values: the component's. */}}
{{- define "millrace.deployment" -}}
{{- $root := .root -}}
{{- with $root.Values.shutdown -}}
{{- $_ := set $ "endSeconds" (add .preStopSeconds .graceSeconds .marginSeconds) -}}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ int .values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "millrace.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "millrace.labels" . | nindent 8 }}
        {{- with .values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # Pods roll when what they start with changes.
        checksum/settings: {{ include "millrace.variables" . | sha256sum }}
        checksum/secrets: {{ include "millrace.ownSecrets" $root | sha256sum }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "millrace.serviceAccount" . }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ .endSeconds }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "millrace.podSecurity" . | nindent 8 }}
      {{- with include "millrace.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- include "millrace.topologySpread" . | nindent 6 }}
      containers:
        {{- include "millrace.container" . | nindent 8 }}
      {{- with include "millrace.volumes" . }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end -}}
