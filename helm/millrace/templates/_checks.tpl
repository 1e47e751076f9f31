{{/* What no schema can say: what is missing, told by the name of the value. */}}
{{- define "millrace.checks" -}}
{{- with .Values -}}
{{- if not .evaluation.enabled -}}
{{- range $name, $given := dict
  "internal.token" (or .internal.token .internal.existingSecret.name)
  "seal.keys" (or .seal.keys .seal.existingSecret.name)
  "platformKeys.hashes" (or .platformKeys.hashes .platformKeys.existingSecret.name)
-}}
{{- if not $given -}}
{{- fail (printf "%s is missing: give it, or better %s.existingSecret.name; README.md tells how to make one" $name (first (splitList "." $name))) -}}
{{- end -}}
{{- end -}}
{{- if not (or .database.host (and .database.existingSecret.name .database.existingSecret.urlKey)) -}}
{{- fail "database.host is missing: give it, or database.existingSecret with urlKey, or evaluation.enabled=true" -}}
{{- end -}}
{{- if not (or .redis.hosts (and .redis.existingSecret.name .redis.existingSecret.urlKey)) -}}
{{- fail "redis.hosts is missing: give it, or redis.existingSecret with urlKey, or evaluation.enabled=true" -}}
{{- end -}}
{{- if and (eq .redis.mode "sentinel") (not .redis.sentinelName) -}}
{{- fail "redis.sentinelName is missing: what the sentinels call the primary" -}}
{{- end -}}
{{- else if or .database.host .database.existingSecret.name .redis.hosts .redis.existingSecret.name -}}
{{- fail "evaluation.enabled brings a PostgreSQL and a Redis of its own: leave database and redis alone" -}}
{{- else if or .internal.token .seal.keys .platformKeys.hashes -}}
{{- fail "evaluation.enabled generates internal.token, seal.keys and platformKeys: leave them alone" -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- fail "ingress.host is missing" -}}
{{- end -}}
{{- if and .ingress.enabled .ingress.grpc.enabled (or (not .ingress.grpc.host) (eq .ingress.grpc.host .ingress.host)) -}}
{{- fail "ingress.grpc.host must be a host of its own" -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
{{- fail "gateway.parentRefs is missing: the gateways to attach the routes to" -}}
{{- end -}}
{{- range .gateway.grpcHostnames -}}
{{- if has . $.Values.gateway.hostnames -}}
{{- fail (printf "gateway.grpcHostnames: %s is a host of REST already" .) -}}
{{- end -}}
{{- end -}}
{{- range $component := list "controlPlane" "router" "deliverer" -}}
{{- $scaling := (index $.Values $component).autoscaling -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas must be at most maxReplicas" $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
