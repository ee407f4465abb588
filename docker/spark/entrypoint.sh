#!/bin/bash
# entrypoint driver ARGUMENTS…: spark-submit. entrypoint executor: what Spark on Kubernetes starts in its executor pods;
# the PyPI package has no image entry point of its own.
set -euo pipefail
java_options=()
case ${1:-} in
  driver)
    shift
    sed "s/CONFIG_MAP/${SPARK_CONFIG_MAP:?}/; s/SECRET/${SPARK_SECRET:?}/" /opt/music/executor-pod.yaml >/tmp/executor-pod.yaml
    files=(/opt/music/spark-defaults.conf)
    if [[ ${SPARK_COMET:-false} == true ]]; then files+=(/opt/music/spark-comet.conf); fi
    cat "${files[@]}" - >/tmp/spark.conf <<SETTINGS
spark.executor.extraClassPath /opt/music/jars/*
spark.hadoop.fs.s3a.endpoint ${AWS_ENDPOINT_URL_S3:-s3.amazonaws.com}
spark.hadoop.fs.s3a.endpoint.region ${AWS_REGION:-us-east-1}
spark.hadoop.fs.s3a.path.style.access ${S3_FORCE_PATH_STYLE:-false}
SETTINGS
    exec "$SPARK_HOME/bin/spark-submit" --properties-file /tmp/spark.conf --driver-class-path '/opt/music/jars/*' "$@"
    ;;
  executor)
    for name in $(compgen -v SPARK_JAVA_OPT_ | sort -t_ -k4 -n); do java_options+=("${!name}"); done
    exec java "${java_options[@]}" -Xms"$SPARK_EXECUTOR_MEMORY" -Xmx"$SPARK_EXECUTOR_MEMORY" \
      -cp "${SPARK_EXTRA_CLASSPATH:-/opt/music/jars/*}:$SPARK_HOME/jars/*" \
      org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
      --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
      --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
      --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
  *)
    echo "usage: entrypoint driver ARGUMENTS… | executor" >&2
    exit 2
    ;;
esac
