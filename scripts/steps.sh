# Sourced by quickstart, check and what they call: one legible line a step, the noise in build/log/, its end when a step fails.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
readonly kLogs=build/log

said() { printf '  %-20s %s\n' "$1" "$2"; }

# While a step runs: its name, and on a terminal the last line of what it says.
follow() {
  printf '  %-20s ' "$1"
  if [[ ! -t 1 ]]; then
    cat >/dev/null
    return
  fi
  local line width=80
  width=$(($(tput cols 2>/dev/null || echo 80) - 24))
  while IFS= read -r line; do printf '\r\033[K  %-20s %.*s' "$1" "$width" "${line//[[:cntrl:]]/ }"; done
  printf '\r\033[K  %-20s ' "$1"
}

# step NAME COMMAND…: runs it with its output in build/log/NAME.log. Returns its status, after showing the log's end if it failed.
step() {
  local name=$1 log start=$SECONDS status=0
  shift
  log=$kLogs/${name// /-}.log
  mkdir -p "$kLogs"
  "$@" </dev/null 2>&1 | tee "$log" | follow "$name" || status=${PIPESTATUS[0]}
  if ((status == 0)); then
    echo "done in $((SECONDS - start)) s"
  else
    echo "FAILED after $((SECONDS - start)) s; the end of $log:"
    tail -n 60 "$log" | sed 's/^/    /' >&2
  fi
  return "$status"
}

# configure PRESET, and build PRESET TARGET… (all when none is named), each a step.
configure() { step "configure $1" cmake --preset "$1"; }
build() {
  local preset=$1
  shift
  step "build $preset" cmake --build --preset "$preset" ${1:+--target "$@"}
}
