# shellcheck shell=bash
# Sourced by tests: `check WHAT COMMAND...` is one check, `report` gives the last line and the exit status.

passed=0
failed=0

check() {
  local what=$1 output status
  shift
  set +e # not `if`, inside which the command's own `set -e` would be without effect
  output=$(set -e; "$@" 2>&1)
  status=$?
  set -e
  if ((status)); then
    echo "FAILED  $what"
    echo "$output"
    ((++failed))
  else
    echo "ok      $what"
    ((++passed))
  fi
}

# refused MESSAGE COMMAND...: it has to fail, and to say why.
refused() {
  local message=$1 output
  shift
  if output=$("$@" 2>&1); then echo "$output" && return 1; fi
  grep -F "$message" <<<"$output" || { echo "$output" && return 1; }
}

report() {
  echo "$passed passed, $failed failed"
  ((!failed))
}

# page HEADING [LANGUAGE] [PAGE]: the first block of code in that language under a heading of docs/install.md or another
# page; without a language, the indented lines.
page() {
  local page=${3-docs/install.md}
  awk -v heading="## $1" -v fence="\`\`\`${2-}" '
    /^#/ { here = $0 == heading }
    !here { next }
    fence != "```" && $0 == fence { inside = 1; next }
    inside && /^```/ { exit }
    inside { print }
    fence == "```" && sub(/^    /, "") { print }
  ' "$page" | grep . || { echo "$page has no ${2-commands} under $1." >&2; return 1; }
}

larder_version() { awk '/define LARDER_VERSION_/ { printf "%s%s", dot, $3; dot = "." }' include/larder/version.hpp; }
