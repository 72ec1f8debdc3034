#!/bin/sh
# Reports the starts of a Mattermost container, and a heartbeat a day, to a mattermost-telemetry server:
#
#   telemetry.sh COMMAND [ARGUMENT …]   becomes COMMAND, and reports beside it
#   telemetry.sh --show                 prints what it would send and where, and sends nothing
#
# POSIX sh, with curl, or with wget and timeout. README.md beside this file has every variable.

CR=$(printf '\r')
VERSION=1.1
# The server knows a report again for 48 hours: one that is older could be counted twice.
GIVE_UP=$((47 * 3600))
LONGEST_PAUSE=3600
# A service that has run for so long and never answered is asked at a wrong address.
LONGEST_START=900

# setting NAME DEFAULT puts the variable into $value. Compose passes an empty text for an unset
# variable, and the quotes and carriage returns of an env file as they stand.
setting() {
    eval "value=\${$1-}"
    value=${value%"$CR"}
    value=${value#[\"\']}
    value=${value%[\"\']}
    value=${value:-$2}
}

seconds() {
    setting "$1" "$2"
    case $value in *[!0-9]* | 0* | ???????*) value=$2 ;; esac
}

# Anything but a clear no is a yes: nobody who writes DISABLE_TELEMETRY=true wants to be counted.
is_on() {
    setting "$1" 0
    case $value in 0 | [Ff]alse | FALSE | [Nn]o | NO | [Oo]ff | OFF) return 1 ;; esac
}

can_send() {
    command -v curl || { command -v wget && command -v timeout; }
} >/dev/null 2>&1

# Puts hundredths of a second into $now, by a clock that never steps as the time of day does.
now() {
    now=0
    # The 1 keeps 08 from being read as an octal number.
    read -r uptime _ 2>/dev/null </proc/uptime &&
        case $uptime in *.??) now=$((${uptime%.*} * 100 + 1${uptime#*.} - 100)) ;; esac
}

# http SECONDS URL [BODY] prints the answer, and fails at an error. The user agent is fixed, so that
# not even the version of curl is sent.
http() {
    limit=$1 url=$2 data=${3-}
    shift $#
    if command -v curl >/dev/null 2>&1; then
        [ -z "$data" ] || set -- --header 'Content-Type: application/json' --data-raw "$data"
        curl -q --silent --fail --max-time "$limit" --user-agent mattermost-telemetry "$@" "$url"
    else
        [ -z "$data" ] || set -- --header 'Content-Type: application/json' --post-data "$data"
        # BusyBox's wget may lack a time limit of its own.
        timeout "$limit" wget -q -O - -U mattermost-telemetry "$@" "$url"
    fi
}

# A proxy for the world outside does not know the service.
http_local() (
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
    http "$@"
)

random_below() {
    random=$(od -An -N2 -tu2 /dev/urandom 2>/dev/null)
    echo $((${random:-0} * $1 / 65536))
}

uuid() {
    cat /proc/sys/kernel/random/uuid 2>/dev/null ||
        od -An -v -N16 -tx1 /dev/urandom | tr -d ' \n' |
        sed 's/\(.\{8\}\)\(.\{4\}\).\(.\{3\}\).\(.\{3\}\)\(.\{12\}\)/\1-\2-4\3-a\4-\5/'
}

# config SECTION KEY prints a text of Mattermost's configuration, on one line or on many.
config() {
    setting MM_CONFIG /mattermost/config/config.json
    tr ',' '\n' 2>/dev/null <"$value" | tr '{' '\n' |
        sed -n "/\"$1\"/,\$ s/^.*\"$2\" *: *\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# Hash of the host's machine id with a salt, where it is mounted. An image's own /etc/machine-id says
# nothing about the host.
machine_hash() {
    setting TELEMETRY_MACHINE_ID_FILE ''
    if [ -z "$value" ] && grep -q ' /etc/machine-id ' /proc/self/mountinfo 2>/dev/null; then
        value=/etc/machine-id
    fi
    [ -s "$value" ] && command -v sha256sum >/dev/null || return 0
    { echo "$1" && cat "$value"; } | sha256sum | cut -d ' ' -f 1
}

# Puts the kept id into $instance_id: a new one on a new volume, and on one that another machine used,
# since the original is probably still running there.
find_instance_id() {
    setting TELEMETRY_DATA_DIR /mattermost/data
    id_file=$value/.telemetry-id instance_id='' salt='' hash=''
    { read -r instance_id && read -r salt hash; } 2>/dev/null <"$id_file"
    # A power cut can leave an empty file, or zeros.
    case $instance_id in *[!0-9a-f-]*) instance_id= ;; esac
    [ ${#instance_id} = 36 ] || instance_id='' hash=''
    here=$(machine_hash "$salt")
    if [ -n "$instance_id" ]; then
        [ -n "$here" ] && [ "$here" != "$hash" ] || return 0
        # Without a hash the machine's id is mounted for the first time.
        [ -z "$hash" ] || instance_id=
    fi
    [ -n "$instance_id" ] || instance_id=$(uuid)
    salt=$(uuid)
    hash=$(machine_hash "$salt")
    # Whole or not at all: a half-written id would be another one.
    {
        printf '%s\n%s %s\n' "$instance_id" "$salt" "$hash" >"$id_file.new" && {
            sync "$id_file.new"
            chmod 644 "$id_file.new"
            mv -f "$id_file.new" "$id_file"
        }
    } 2>/dev/null
}

# Puts the address at which the service answers into $service.
find_service() {
    setting MM_SERVICESETTINGS_LISTENADDRESS ''
    listen=${value:-$(config ServiceSettings ListenAddress)}
    case ${listen:=:8065} in :*) listen=127.0.0.1$listen ;; esac
    setting TELEMETRY_SERVICE_URL "http://$listen/api/v4/system/ping"
    service=$value
}

# The stock image does not export MM_VERSION: the running service is asked, then its program.
version() {
    setting MM_VERSION ''
    [ -n "$value" ] || value=$(http_local 5 "${service%/api/*}/api/v4/config/client?format=old" |
        sed -n 's/.*"Version":"\([^"]*\)".*/\1/p' | head -n 1)
    [ -n "$value" ] || value=$(PATH=$PATH:/mattermost/bin && timeout 30 mattermost version |
        sed -n 's/^Version: *//p' | head -n 1)
    printf %s "${value:-unknown}"
} 2>/dev/null

# One of four words: nothing else of a data source is sent, which has a password in it.
database() {
    setting MM_SQLSETTINGS_DRIVERNAME '' && driver=$value
    setting MM_SQLSETTINGS_DATASOURCE '' && source=$value
    for hint in "$driver" "$source" "$(config SqlSettings DriverName)" "${MM_CONFIG-}"; do
        case $hint in
            postgres*) echo postgres && return ;;
            mysql* | mariadb* | *@tcp\(*) echo mysql && return ;;
            sqlite*) echo sqlite && return ;;
        esac
    done
    echo unknown
}

runtime() {
    # With version 2 of control groups the names are hidden from most containers.
    case ${KUBERNETES_SERVICE_HOST:+kubernetes}$(cat /proc/1/cgroup 2>/dev/null) in
        *kube*) echo kubernetes && return ;;
        *libpod*) echo podman && return ;;
        *docker*) echo docker && return ;;
        *lxc*) echo lxc && return ;;
    esac
    if [ -e /run/.containerenv ]; then
        echo podman
    elif [ -e /.dockerenv ]; then
        echo docker
    else
        echo unknown
    fi
}

# A string of JSON within the server's limit of a value.
quoted() {
    printf '"%s"' "$(printf %s "$1" | LC_ALL=C tr -cd ' -~' | cut -c 1-64 | sed 's/[\\"]/\\&/g')"
}

# report EVENT [STARTUP_MS] prints all that is sent.
report() {
    printf '{"event":"%s","report_id":"%s","instance_id":"%s"' "$1" "$(uuid)" "$instance_id"
    printf ',"image_version":%s' "$(quoted "$(version)")"
    printf ',"architecture":%s,"os":%s' "$(quoted "$(uname -m)")" "$(quoted "$(uname -s)")"
    printf ',"container_runtime":"%s","db_type":"%s"' "$(runtime)" "$(database)"
    printf ',"telemetry_version":"%s"%s}' "$VERSION" "${2:+,\"startup_time_ms\":$2}"
}

# Ends this process if the service has ended: only in a container does the kernel do that.
end_with_service() {
    while read -r key parent; do
        [ "$key" != PPid: ] || break
    done </proc/self/status
    [ "$parent" = $$ ] || exit 0
}

rest() {
    now
    until=$((now + $1 * 100))
    while end_with_service && now && [ $((until - now)) -gt 0 ]; do
        left=$(((until - now + 99) / 100))
        sleep $((left < 10 ? left : 10))
    done
}

# Puts the startup time into $startup_ms; 0 is not measured.
wait_for_service() {
    while end_with_service; do
        find_service
        http_local 5 "$service" >/dev/null
        answered=$?
        now
        startup_ms=$(((now - begin) * 10))
        # A start within one tick of the clock was measured, too.
        [ $answered != 0 ] || { [ $startup_ms != 0 ] || [ $now = 0 ] || startup_ms=10; return; }
        if [ $startup_ms -gt $((LONGEST_START * 1000)) ]; then
            startup_ms=0
            return
        fi
        sleep 0.5 || sleep 1
    done
}

# True if the server took the report. A captive portal and a redirect answer without an error, too.
send() {
    seconds TELEMETRY_TIMEOUT_SECONDS 30
    http "$value" "$endpoint" "$1" | grep -q '"success"'
}

# deliver EVENT [STARTUP_MS] sends a report until it is taken, always under the same id.
deliver() {
    body=$(report "$@")
    now
    give_up=$((now + GIVE_UP * 100))
    seconds TELEMETRY_RETRY_SECONDS 15
    pause=$value
    until send "$body"; do
        now
        [ "$now" -lt "$give_up" ] || return
        # The clients of a server that comes back do not all send in the same second.
        rest $((pause - $(random_below $(((pause + 1) / 2)))))
        pause=$((pause * 2 < LONGEST_PAUSE ? pause * 2 : LONGEST_PAUSE))
    done
}

run_beside_service() {
    wait_for_service
    find_instance_id
    deliver start "$startup_ms"
    seconds TELEMETRY_HEARTBEAT_SECONDS 86400
    every=$value
    while :; do
        # A tenth early at most, never late: each day has one.
        rest $((every - $(random_below $((every / 10)))))
        deliver heartbeat
    done
}

show() {
    [ -z "$off" ] || echo "off, because of $off: nothing is sent. Without it:"
    can_send || echo "nothing is sent: there is neither curl, nor wget with timeout. With one of them:"
    find_service
    find_instance_id
    [ -e "$id_file" ] || echo "the id is lost at the end, since $id_file cannot be written"
    echo "at the start, once $service answers, with the milliseconds until then:"
    echo "POST $endpoint"
    report start 0
    printf '\n%s\n' "a heartbeat, each 24 hours at most:"
    echo "POST $endpoint"
    report heartbeat
    echo
}

now
begin=$now
off=
for name in DISABLE_TELEMETRY DO_NOT_TRACK CI; do
    ! is_on "$name" || off="$off${off:+, }$name"
done
# The stock image's own address.
setting TELEMETRY_ENDPOINT https://telemetry.imbios.dev/collect
endpoint=$value

case ${1-} in
    --show)
        show
        exit
        ;;
    '')
        echo 'usage: telemetry.sh --show | telemetry.sh COMMAND [ARGUMENT …]' >&2
        exit 64
        ;;
esac

# The stock entrypoint would report the same start.
export DISABLE_TELEMETRY=1
if [ -z "$off" ] && can_send; then
    echo "[telemetry] reports starts and heartbeats to $endpoint; DISABLE_TELEMETRY=1 opts out" >&2
    # Not one descriptor of the service stays open: whoever reads its output sees the end of it.
    (
        exec </dev/null >/dev/null 2>&1
        run_beside_service
    ) &
fi
exec "$@"
