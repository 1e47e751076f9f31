{{/* Parts of NetworkPolicies. */}}

{{/* Selects the pods of a component. Takes root and component. */}}
{{- define "millrace.peer" -}}
- podSelector:
    matchLabels:
      {{- include "millrace.selector" . | nindent 6 }}
{{- end -}}

{{/* Names must be looked up. */}}
{{- define "millrace.egressDns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "millrace.egressDatabase" -}}
{{- $policy := .Values.networkPolicy.database -}}
- ports:
    {{- range prepend $policy.ports .Values.database.port | uniq }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- if .Values.evaluation.enabled }}
  to:
    {{- include "millrace.peer" (dict "root" . "component" "postgres") | nindent 4 }}
  {{- else if $policy.to }}
  to:
    {{- toYaml $policy.to | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "millrace.egressRedis" -}}
{{- $policy := .Values.networkPolicy.redis -}}
{{- $ports := list -}}
{{- range $policy.ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- $default := ternary 26379 6379 (eq .Values.redis.mode "sentinel") -}}
{{- range .Values.redis.hosts -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $ports = append $ports (int ($port | default $default)) -}}
{{- end -}}
- ports:
    {{- range $ports | uniq }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- if .Values.evaluation.enabled }}
  to:
    {{- include "millrace.peer" (dict "root" . "component" "redis") | nindent 4 }}
  {{- else if $policy.to }}
  to:
    {{- toYaml $policy.to | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "millrace.egressControlPlane" -}}
- ports:
    - {protocol: TCP, port: 8080}
  to:
    {{- include "millrace.peer" (dict "root" . "component" "control-plane") | nindent 4 }}
{{- end -}}

{{/* The collector of traces, if there is one. */}}
{{- define "millrace.egressTelemetry" -}}
{{- with .Values.telemetry.endpoint -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
- ports:
    - {protocol: TCP, port: {{ int ($port | default (ternary 443 80 (eq $url.scheme "https"))) }}}
  {{- with $.Values.networkPolicy.telemetry.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The world without what is private, and what may be delivered to although it is. */}}
{{- define "millrace.egressSinks" -}}
{{- $network := .Values.networkPolicy -}}
{{- $settings := include "millrace.settings" (dict "root" . "component" "deliverer" "values" .Values.deliverer) | fromYaml -}}
{{- with $network.internet.cidrs -}}
- to:
    {{- range $cidr := . }}
    - ipBlock:
        cidr: {{ $cidr | quote }}
        {{- $six := contains ":" $cidr }}
        {{- if hasSuffix "/0" $cidr }}
        {{- $except := list }}
        {{- range $network.internet.except }}
        {{- if eq $six (contains ":" .) }}{{ $except = append $except . }}{{ end }}
        {{- end }}
        {{- with $except }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- end }}
    {{- end }}
  {{- with $network.internet.ports }}
  ports:
    {{- range . }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- with ($settings.delivery | default dict).allow_cidrs }}
- to:
    {{- range (kindIs "slice" . | ternary . (splitList "," (. | toString))) }}
    - ipBlock:
        cidr: {{ trim . | quote }}
    {{- end }}
{{- end }}
{{- with $network.deliverTo }}
- to:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Who may call a port. Takes peers (none: everybody) and ports. */}}
{{- define "millrace.ingressFrom" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- with .peers }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* A NetworkPolicy's head. Takes root, component, suffix. */}}
{{- define "millrace.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
{{- end -}}
