# What tests/run is made of: counting, timing, installing, servers. Sourced, not run.
# shellcheck shell=bash
# A part runs with `set -e` off (bash does so on the left of ||): hence `&&` and `|| return` below.

CACHE=tests/.cache
PYTHON=$CACHE/venv/bin/python
LONG=no
passed_total=0
failed_total=0
summary=()

# --- counting -------------------------------------------------------------------------------------

# Runs a command; its output is shown and kept in $log. Sets $status.
logged() {
  status=0
  "$@" 2>&1 | tee -a "$log" || status=$?
}

count() { # passed failed
  part_passed=$((part_passed + $1))
  part_failed=$((part_failed + $2))
}

# A command that is one check by itself.
check() {
  echo "+ $*"
  logged "$@"
  if ((status == 0)); then count 1 0; else count 0 1; fi
  return 0
}

# Counts what a test runner said of itself. A runner that failed without a failed test (a build error,
# a crash) counts as one failure.
count_report() { # passed failed
  if ((status != 0 && $2 == 0)); then count "$1" 1; else count "$1" "$2"; fi
}

total_of() { # word: sums every number that stands before it on standard input
  grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}

# `--test NAME` for every integration test of the packages in these directories.
test_targets() {
  cargo metadata --format-version=1 --no-deps --locked | python3 -c '
import json, os, sys
metadata = json.load(sys.stdin)
places = tuple(os.path.join(metadata["workspace_root"], place, "") for place in sys.argv[1:])
for package in metadata["packages"]:
    for target in package["targets"]:
        if "test" in target["kind"] and package["manifest_path"].startswith(places):
            print("--test", target["name"])
' "$@" | sort -u
}

cargo_test() { # which targets
  local log=$CACHE/log/cargo.log
  : >"$log"
  logged cargo test --workspace --locked --no-fail-fast "$@"
  grep '^test result:' "$log" >"$log.results"
  count_report "$(total_of passed <"$log.results")" "$(total_of failed <"$log.results")"
}

pytest_run() { # directory
  need_venv || return
  local log=$CACHE/log/pytest.log
  : >"$log"
  logged env PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -m pytest -c tests/pytest.ini --color=no "$@"
  # The closing line: «3 failed, 120 passed, 1 error in 4.2s».
  tail -n 1 "$log" >"$log.results"
  count_report "$(total_of passed <"$log.results")" \
    "$(($(total_of failed <"$log.results") + $(total_of error <"$log.results")))"
}

node_test() { # directory
  local log=$CACHE/log/node.log
  : >"$log"
  logged npm --prefix "$1" test --silent
  # «# pass 7» or «ℹ pass 7», turned round.
  sed -nE 's/^[^a-z0-9]*(pass|fail) ([0-9]+)$/\2 \1/p' "$log" >"$log.results"
  count_report "$(total_of pass <"$log.results")" "$(total_of fail <"$log.results")"
}

# --- what parts need, installed once ----------------------------------------------------------------

as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

install_packages() {
  as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

need_package() { # file that it brings, package names…
  [[ -e $1 ]] || install_packages "${@:2}"
}

need_postgresql() { need_package /usr/lib/postgresql/15/bin/postgres postgresql-15; }

need_chromium() { need_package /usr/bin/chromium chromium; }

need_cargo_tool() { command -v "$1" >/dev/null || cargo install --locked "$1"; }

need_venv() {
  local stamp=$CACHE/venv/requirements.txt
  cmp -s tests/requirements.txt "$stamp" && return
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || return
  python3 -m venv "$CACHE/venv" &&
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt &&
    cp tests/requirements.txt "$stamp"
}

need_node_modules() { # directory with a package-lock.json
  local stamp=$1/node_modules/.evergate-lock
  cmp -s "$1/package-lock.json" "$stamp" && return
  command -v npm >/dev/null || install_packages nodejs npm || return
  npm ci --prefix "$1" --no-audit --no-fund --loglevel=error &&
    cp "$1/package-lock.json" "$stamp"
}

# The release binary, built once for all parts that drive it from outside.
need_gateway() {
  [[ -n ${EVERGATE_BIN:-} ]] && return
  cargo build --release --locked -p evergate && export EVERGATE_BIN=$PWD/target/release/evergate
}

# A PostgreSQL of our own: temporary directory, free port, gone at the end.
need_postgres() {
  [[ -n ${EVERGATE_TEST_POSTGRES:-} ]] && return
  need_postgresql || return
  exec {postgres_out}< <(exec python3 tests/lib/postgres.py)
  postgres_pid=$!
  read -r EVERGATE_TEST_POSTGRES <&"$postgres_out" || return
  export EVERGATE_TEST_POSTGRES
}

clean_up() {
  [[ -z ${postgres_pid:-} ]] || { kill "$postgres_pid" && wait "$postgres_pid"; } 2>/dev/null || true
}

# --- running parts ----------------------------------------------------------------------------------

short_or_long() { if [[ $LONG == yes ]]; then echo "$2"; else echo "$1"; fi; }

run_part() {
  local name=$1 start=$SECONDS log=$CACHE/log/$1.log
  part_passed=0 part_failed=0
  : >"$log"
  echo
  echo "=== $name"
  # Not zero: something that the part needs could not be had. That fails the part and not the run.
  "part_$name" || count 0 1
  if ((part_passed + part_failed == 0)); then
    echo "the part $name tested nothing"
    count 0 1
  fi
  passed_total=$((passed_total + part_passed))
  failed_total=$((failed_total + part_failed))
  summary+=("$(printf '%-13s %5d passed %4d failed %5d s' "$name" "$part_passed" "$part_failed" $((SECONDS - start)))")
}

main() {
  local parts=() argument
  for argument in "$@"; do
    case $argument in
      --long) LONG=yes ;;
      *)
        declare -F "part_$argument" >/dev/null || { echo "no such part: $argument; there are: ${ALL_PARTS[*]}" >&2; exit 2; }
        parts+=("$argument")
        ;;
    esac
  done
  ((${#parts[@]})) || parts=("${ALL_PARTS[@]}")
  mkdir -p "$CACHE/log"
  trap clean_up EXIT
  if [[ $LONG == yes ]]; then export EVERGATE_TEST_LONG=1; fi
  for argument in "${parts[@]}"; do run_part "$argument"; done
  echo
  printf '%s\n' "${summary[@]}"
  echo "$passed_total passed, $failed_total failed"
  ((failed_total == 0))
}
