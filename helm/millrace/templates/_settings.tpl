{{/* Settings: what is no secret, as the variables that the processes read. */}}

{{/* A value as a variable holds it: lists with commas; numbers whole, however large. */}}
{{- define "millrace.value" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if kindIs "string" . -}}
{{- . -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* The settings of a component, by section: those of the chart, then `settings`, then its own. */}}
{{- define "millrace.settings" -}}
{{- $root := .root -}}
{{- $ports := index (include "millrace.ports" $root | fromYaml) .component -}}
{{- $every := ternary "[::]" "0.0.0.0" (eq $root.Values.ipFamily "IPv6") -}}
{{- $settings := dict
  $ports.section (dict "listen" (printf "%s:%d" $every (int $ports.listen)))
  "admin" (dict "listen" (printf "%s:%d" $every (int $ports.admin)))
  "log" (dict "format" "json")
  "shutdown" (dict "grace" (printf "%ds" (int $root.Values.shutdown.graceSeconds)))
-}}
{{- if eq .component "control-plane" -}}
{{- with include "millrace.publicUrl" $root -}}
{{- $_ := set $settings.control_plane "public_url" . -}}
{{- end -}}
{{- else -}}
{{- $address := printf "http://%s-control-plane.%s.svc:8080" (include "millrace.fullname" $root) $root.Release.Namespace -}}
{{- $settings = mustMerge (dict "control_plane" (dict "address" $address)) $settings -}}
{{- end -}}
{{- with $root.Values.telemetry -}}
{{- if .endpoint -}}
{{- $telemetry := dict "sample_ratio" .sampleRatio "otlp__endpoint" .endpoint -}}
{{- if .tls.caSecret -}}
{{- $_ := set $telemetry "otlp__tls_ca" "/etc/millrace/telemetry-ca/ca.crt" -}}
{{- end -}}
{{- $_ := set $settings "telemetry" $telemetry -}}
{{- end -}}
{{- end -}}
{{- if and $root.Values.redis.tls.enabled $root.Values.redis.tls.caSecret -}}
{{- $_ := set $settings "queue" (dict "tls_ca" "/etc/millrace/redis-ca/ca.crt") -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $settings (deepCopy $root.Values.settings) (deepCopy .values.settings)) -}}
{{- end -}}

{{/* The same as data of a ConfigMap. */}}
{{- define "millrace.variables" -}}
{{- range $section, $keys := include "millrace.settings" . | fromYaml -}}
{{- range $key, $value := $keys -}}
{{- if not (kindIs "invalid" $value) }}
MILLRACE__{{ upper $section }}__{{ upper $key }}: {{ include "millrace.value" $value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* ConfigMap of a component. */}}
{{- define "millrace.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
data:
  {{- include "millrace.variables" . | trim | nindent 2 }}
{{- end -}}
