{{/* The public gRPC services and who serves them. What is internal is not reached from outside. */}}
{{- define "millrace.grpcServices" -}}
- {service: millrace.v1.PublishService, component: router}
- {service: millrace.v1.AccountService, component: control-plane}
- {service: millrace.v1.AuditService, component: control-plane}
- {service: millrace.v1.EventService, component: control-plane}
- {service: millrace.v1.EventTypeService, component: control-plane}
- {service: millrace.v1.LogService, component: control-plane}
- {service: millrace.v1.QuarantineService, component: control-plane}
- {service: millrace.v1.SchemaService, component: control-plane}
- {service: millrace.v1.SinkService, component: control-plane}
- {service: millrace.v1.SubscriptionService, component: control-plane}
{{- end -}}
