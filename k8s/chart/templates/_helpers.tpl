{{- define "music.labels" -}}
app.kubernetes.io/part-of: music-pipeline
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Of the image of an app: (list $ NAME). */ -}}
{{- define "music.image" -}}
{{- $ := index . 0 }}{{ $name := index . 1 }}
{{- with index $.Values.images.digests $name -}}
{{ $.Values.images.registry }}/{{ $name }}@{{ . }}
{{- else -}}
{{ $.Values.images.registry }}/{{ $name }}:{{ $.Values.images.tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* All settings, as a map: values.settings, with the lines of values.settingsEnv before them. */ -}}
{{- define "music.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- range splitList "\n" .Values.settingsEnv }}
{{- $line := trim . }}
{{- if and $line (not (hasPrefix "#" $line)) }}
{{- if not (regexMatch "^[A-Z][A-Z0-9_]*=" $line) }}{{ fail (printf "settingsEnv: \"%s\" is not NAME=value" $line) }}{{ end }}
{{- $parts := splitn "=" 2 $line }}
{{- $_ := set $settings $parts._0 $parts._1 }}
{{- end }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{- define "music.checks" -}}
{{- .Values.checks | default (.Files.Get "files/checks.yaml") }}
{{- end }}

{{- /* What every pod has. */ -}}
{{- define "music.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "music.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What every container has. */ -}}
{{- define "music.container" -}}
envFrom:
  - configMapRef:
      name: music-settings
  - secretRef:
      name: {{ .Values.existingSecrets.settings }}
      optional: true
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- /* Of a container of the command line: (list $ ENV), a list of more environment. */ -}}
{{- define "music.command" -}}
{{- $ := index . 0 }}
name: music-kpis
image: {{ include "music.image" (list $ "cli") }}
{{ include "music.container" $ }}
{{- with concat (index . 1) $.Values.extraEnv }}
env: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* A manifest that overlays have, too, with labels: (list $ TEXT). */ -}}
{{- define "music.labelled" -}}
{{- $manifest := index . 1 | fromYaml }}
{{- $labels := include "music.labels" (index . 0) | fromYaml }}
{{- $_ := set $manifest.metadata "labels" (merge $labels ($manifest.metadata.labels | default dict)) }}
{{- toYaml $manifest }}
{{- end }}

{{- /* All of a file: (list $ FILE). */ -}}
{{- define "music.manifests" -}}
{{- $ := index . 0 }}
{{- range regexSplit "(?m)^---$" ($.Files.Get (index . 1)) -1 }}
---
{{ include "music.labelled" (list $ .) }}
{{- end }}
{{- end }}
