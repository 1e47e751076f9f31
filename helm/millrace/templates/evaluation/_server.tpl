{{/* A server of the evaluation: one pod with a disk. Takes root, component, values, port, uid, mount, scratch (what else it writes to) and container: what is its own. */}}
{{- define "millrace.evaluationServer" -}}
{{- $class := .root.Values.evaluation.storageClassName -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "millrace.selector" . | nindent 4 }}
  ports:
    - name: tcp-{{ .component }}
      port: {{ .port }}
      targetPort: serve
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "millrace.metadata" . | nindent 2 }}
spec:
  serviceName: {{ include "millrace.component" . }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "millrace.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "millrace.labels" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .uid }}
        runAsGroup: {{ .uid }}
        fsGroup: {{ .uid }}
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ .component }}
          image: {{ .values.image | quote }}
          ports:
            - name: serve
              containerPort: {{ .port }}
          {{- .container | nindent 10 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            {{- include "millrace.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: {{ .mount }}
            {{- range .scratch }}
            - name: scratch
              mountPath: {{ . }}
            {{- end }}
      {{- if .scratch }}
      volumes:
        - name: scratch
          emptyDir: {}
      {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $class }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.storage }}
{{- end -}}

{{- define "millrace.evaluationPostgres" -}}
env:
  - name: POSTGRES_USER
    value: millrace
  - name: POSTGRES_DB
    value: millrace
  - name: POSTGRES_PASSWORD
    valueFrom:
      secretKeyRef:
        name: {{ include "millrace.fullname" .root }}-evaluation
        key: postgres-password
  - name: PGDATA
    value: /var/lib/postgresql/data/pgdata
readinessProbe:
  exec:
    command: [pg_isready, --host=127.0.0.1, --username=millrace, --dbname=millrace]
  periodSeconds: 3
{{- end -}}

{{- define "millrace.evaluationRedis" -}}
# What is acknowledged is on the disk; what is full refuses, and drops nothing.
command: [redis-server]
args:
  - --dir
  - /data
  - --appendonly
  - "yes"
  - --appendfsync
  - always
  - --save
  - ""
  - --maxmemory
  - {{ .root.Values.evaluation.redis.maxmemory | quote }}
  - --maxmemory-policy
  - noeviction
  - --requirepass
  - $(REDIS_PASSWORD)
env:
  - name: REDIS_PASSWORD
    valueFrom:
      secretKeyRef:
        name: {{ include "millrace.fullname" .root }}-evaluation
        key: redis-password
readinessProbe:
  tcpSocket: {port: serve}
  periodSeconds: 3
{{- end -}}
