{{/* Secrets: where each is kept, and the variables that read it. No value of one is anywhere but in a Secret. */}}

{{/* Where a secret is: a Secret of the user's, the evaluation's, or the chart's own. Takes root, existing (name, key) and own. */}}
{{- define "millrace.secretRef" -}}
{{- if .existing.name -}}
name: {{ .existing.name }}
key: {{ .existing.key }}
{{- else if .root.Values.evaluation.enabled -}}
name: {{ include "millrace.fullname" .root }}-evaluation
key: {{ .own }}
{{- else -}}
name: {{ .name | default (include "millrace.fullname" .root) }}
key: {{ .own }}
{{- end -}}
{{- end -}}

{{/* A variable that reads a secret. Takes root, variable, existing, own. */}}
{{- define "millrace.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      {{- include "millrace.secretRef" . | nindent 6 }}
{{- end -}}

{{/* A part of a URL that may be anything. */}}
{{- define "millrace.encoded" -}}
{{- . | urlquery | replace "+" "%20" -}}
{{- end -}}

{{/* The end of PostgreSQL's URL: how TLS is spoken. */}}
{{- define "millrace.databaseOptions" -}}
sslmode={{ .Values.database.tls.mode }}
{{- if .Values.database.tls.caSecret }}&sslrootcert=/etc/millrace/database-ca/ca.crt{{ end -}}
{{- end -}}

{{/* PostgreSQL's URL with a password that is given. */}}
{{- define "millrace.databaseUrl" -}}
{{- with .Values.database -}}
{{- $password := ternary "" (printf ":%s" (include "millrace.encoded" .password)) (eq .password "") -}}
postgres://{{ include "millrace.encoded" .user }}{{ $password }}@{{ .host }}:{{ int .port }}/{{ .name }}?{{ include "millrace.databaseOptions" $ }}
{{- end -}}
{{- end -}}

{{/* The variables by which PostgreSQL is reached. Takes root, and name: the Secret that holds the URL if none exists. */}}
{{- define "millrace.databaseVariables" -}}
{{- $root := .root -}}
{{- with $root.Values.database -}}
{{- if and .existingSecret.name .existingSecret.urlKey -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__DATABASE__URL" "existing" (dict "name" .existingSecret.name "key" .existingSecret.urlKey)) -}}
{{- else if $root.Values.evaluation.enabled -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "DATABASE_PASSWORD" "existing" dict "own" "postgres-password") }}
- name: MILLRACE__DATABASE__URL
  value: postgres://millrace:$(DATABASE_PASSWORD)@{{ include "millrace.fullname" $root }}-postgres:5432/millrace?sslmode=disable
{{- else if .existingSecret.name -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "DATABASE_PASSWORD" "existing" (dict "name" .existingSecret.name "key" .existingSecret.passwordKey)) }}
- name: MILLRACE__DATABASE__URL
  value: postgres://{{ include "millrace.encoded" .user }}:$(DATABASE_PASSWORD)@{{ .host }}:{{ int .port }}/{{ .name }}?{{ include "millrace.databaseOptions" $root }}
{{- else -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__DATABASE__URL" "existing" dict "own" "database-url" "name" $.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Redis' URL around credentials, which end with `@` or are empty. Takes root and credentials. */}}
{{- define "millrace.redisUrlWith" -}}
{{- $credentials := .credentials -}}
{{- with .root.Values.redis -}}
{{- $mode := ternary "" (printf "+%s" .mode) (eq .mode "single") -}}
{{- $name := ternary (printf "/%s" .sentinelName) "" (eq .mode "sentinel") -}}
{{- $database := ternary "" (printf "/%d" (int .database)) (eq .mode "cluster") -}}
{{ ternary "rediss" "redis" .tls.enabled }}{{ $mode }}://{{ $credentials }}{{ join "," .hosts }}{{ $name }}{{ $database }}
{{- end -}}
{{- end -}}

{{/* Redis' URL with a password that is given. */}}
{{- define "millrace.redisUrl" -}}
{{- $credentials := "" -}}
{{- with .Values.redis -}}
{{- if or .user .password -}}
{{- $credentials = printf "%s:%s@" (include "millrace.encoded" .user) (include "millrace.encoded" .password) -}}
{{- end -}}
{{- end -}}
{{- include "millrace.redisUrlWith" (dict "root" . "credentials" $credentials) -}}
{{- end -}}

{{/* The variables by which Redis is reached. */}}
{{- define "millrace.redisVariables" -}}
{{- $root := . -}}
{{- with .Values.redis -}}
{{- if and .existingSecret.name .existingSecret.urlKey -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__QUEUE__URL" "existing" (dict "name" .existingSecret.name "key" .existingSecret.urlKey)) -}}
{{- else if $root.Values.evaluation.enabled -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "REDIS_PASSWORD" "existing" dict "own" "redis-password") }}
- name: MILLRACE__QUEUE__URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "millrace.fullname" $root }}-redis:6379/0
{{- else if and .existingSecret.name .existingSecret.passwordKey -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "REDIS_PASSWORD" "existing" (dict "name" .existingSecret.name "key" .existingSecret.passwordKey)) }}
- name: MILLRACE__QUEUE__URL
  value: {{ include "millrace.redisUrlWith" (dict "root" $root "credentials" (printf "%s:$(REDIS_PASSWORD)@" (include "millrace.encoded" .user))) }}
{{- else -}}
{{- include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__QUEUE__URL" "existing" dict "own" "queue-url") -}}
{{- end -}}
{{- if and .existingSecret.name .existingSecret.sentinelPasswordKey }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__QUEUE__SENTINEL_PASSWORD" "existing" (dict "name" .existingSecret.name "key" .existingSecret.sentinelPasswordKey)) -}}
{{- else if .sentinelPassword }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__QUEUE__SENTINEL_PASSWORD" "existing" dict "own" "sentinel-password") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The secrets of a component: no more than it needs. */}}
{{- define "millrace.secretVariables" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- if eq .component "control-plane" }}
{{ include "millrace.databaseVariables" (dict "root" $root) }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__SEAL__KEYS" "existing" $values.seal.existingSecret "own" "seal-keys") }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__CONTROL_PLANE__PLATFORM_KEYS" "existing" $values.platformKeys.existingSecret "own" "platform-key-hashes") }}
{{- end }}
{{- if and $values.telemetry.endpoint $values.telemetry.headers.existingSecret.name }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__TELEMETRY__OTLP__HEADERS" "existing" $values.telemetry.headers.existingSecret) }}
{{- end }}
{{ include "millrace.redisVariables" $root }}
{{ include "millrace.secretVariable" (dict "root" $root "variable" "MILLRACE__INTERNAL__TOKEN" "existing" $values.internal.existingSecret "own" "internal-token") }}
{{- end -}}

{{/* What the chart's own Secret holds: only what was given. Pods roll when it changes. */}}
{{- define "millrace.ownSecrets" -}}
{{- $own := dict -}}
{{- with .Values -}}
{{- if not .evaluation.enabled -}}
{{- if and .internal.token (not .internal.existingSecret.name) }}{{ $_ := set $own "internal-token" .internal.token }}{{ end -}}
{{- if and .seal.keys (not .seal.existingSecret.name) }}{{ $_ := set $own "seal-keys" .seal.keys }}{{ end -}}
{{- if and .platformKeys.hashes (not .platformKeys.existingSecret.name) }}{{ $_ := set $own "platform-key-hashes" .platformKeys.hashes }}{{ end -}}
{{- if not .database.existingSecret.name }}{{ $_ := set $own "database-url" (include "millrace.databaseUrl" $) }}{{ end -}}
{{- if not (and .redis.existingSecret.name (or .redis.existingSecret.urlKey .redis.existingSecret.passwordKey)) }}{{ $_ := set $own "queue-url" (include "millrace.redisUrl" $) }}{{ end -}}
{{- if and .redis.sentinelPassword (not (and .redis.existingSecret.name .redis.existingSecret.sentinelPasswordKey)) }}{{ $_ := set $own "sentinel-password" .redis.sentinelPassword }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $own -}}
{{- end -}}
