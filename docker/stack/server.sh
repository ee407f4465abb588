#!/bin/sh
# server kafka|dynamodb|s3: starts one server of the local stack with its data in /data. Kafka reads
# /etc/kafka/server.properties.
set -eu
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
small='-Xmx256m -XX:+UseSerialGC -Djava.io.tmpdir=/tmp'
case ${1:-} in
  kafka)
    $java $small -cp '/opt/stack/kafka/*' kafka.tools.StorageTool format --ignore-formatted \
      --cluster-id="${KAFKA_CLUSTER_ID:?}" -c /etc/kafka/server.properties
    exec $java $small -cp '/opt/stack/kafka/*' kafka.Kafka /etc/kafka/server.properties
    ;;
  dynamodb)
    exec $java $small -Djava.library.path=/opt/stack/dynamodb -Dsqlite4java.library.path=/opt/stack/dynamodb \
      -cp '/opt/stack/dynamodb/*' com.amazonaws.services.dynamodbv2.local.main.ServerRunner \
      -dbPath /data -sharedDb -disableTelemetry -port 8000
    ;;
  s3)
    exec $java $small -cp '/opt/stack/s3/*' com.adobe.testing.s3mock.S3MockApplication \
      --server.port=0 --http.port=9090 \
      --com.adobe.testing.s3mock.store.root=/data --com.adobe.testing.s3mock.store.retainFilesOnExit=true
    ;;
  *)
    echo "usage: server kafka|dynamodb|s3" >&2
    exit 2
    ;;
esac
