{{/* What stands beside each Deployment. All take root, component and values. */}}

{{- define "millrace.serviceAccountObject" -}}
{{- if .values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "millrace.metadata" (merge (dict "name" (include "millrace.serviceAccount" .)) .) | nindent 2 }}
  {{- with .values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "millrace.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "millrace.selector" . | nindent 6 }}
{{- end -}}

{{- define "millrace.autoscaler" -}}
{{- with .values.autoscaling -}}
{{- if .enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "millrace.metadata" $ | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "millrace.component" $ }}
  minReplicas: {{ int .minReplicas }}
  maxReplicas: {{ int .maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ int .targetCPUUtilizationPercentage }}
    {{- if and .queueLag .queueLag.enabled }}
    {{- if eq .queueLag.type "External" }}
    - type: External
      external:
        metric:
          name: {{ .queueLag.metric }}
          selector:
            matchLabels:
              namespace: {{ $.root.Release.Namespace }}
        target:
          type: AverageValue
          averageValue: {{ .queueLag.target | quote }}
    {{- else }}
    - type: Pods
      pods:
        metric:
          name: {{ .queueLag.metric }}
        target:
          type: AverageValue
          averageValue: {{ .queueLag.target | quote }}
    {{- end }}
    {{- end }}
  behavior:
    # Each change of deliverers moves partitions: down slowly.
    scaleDown:
      stabilizationWindowSeconds: 300
      policies:
        - type: Pods
          value: 1
          periodSeconds: 60
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Services of a component. One port serves REST and gRPC; each has a name here, for what must be told the protocol. */}}
{{- define "millrace.service" -}}
{{- $ports := index (include "millrace.ports" .root | fromYaml) .component -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
  {{- with .values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .values.service.type }}
  selector:
    {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - name: http
      port: {{ $ports.listen }}
      targetPort: serve
      appProtocol: http
    - name: grpc
      port: {{ add $ports.listen 10 }}
      targetPort: serve
      appProtocol: kubernetes.io/h2c
{{- end -}}

{{/* Headless: its name is every pod's address, so a gRPC client balances by itself; metrics are read from each pod. */}}
{{- define "millrace.headless" -}}
{{- $ports := index (include "millrace.ports" .root | fromYaml) .component -}}
{{- $name := printf "%s-headless" (include "millrace.component" .) -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "millrace.labels" . | nindent 4 }}
    millrace.io/metrics: "true"
spec:
  clusterIP: None
  selector:
    {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ $ports.listen }}
      targetPort: serve
      appProtocol: kubernetes.io/h2c
    - name: admin
      port: {{ $ports.admin }}
      targetPort: admin
      appProtocol: http
{{- end -}}

{{/* All of it. */}}
{{- define "millrace.objects" -}}
{{ include "millrace.serviceAccountObject" . }}
---
{{ include "millrace.configMap" . }}
---
{{ include "millrace.deployment" . }}
---
{{ include "millrace.podDisruptionBudget" . }}
---
{{ include "millrace.headless" . }}
---
{{ include "millrace.autoscaler" . }}
{{- end -}}
