#!/bin/sh
# The first process of a container: starts the command, hands TERM and INT on to it, waits for it and for what it left
# behind, and ends with its exit code.
"$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM
trap 'kill -INT "$child" 2>/dev/null' INT
while :; do
  wait "$child"
  code=$?
  kill -0 "$child" 2>/dev/null || exit "$code" # a signal ends `wait`, too
done
