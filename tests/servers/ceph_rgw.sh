#!/bin/bash
# A Ceph RADOS Gateway of one machine, on loopback: a test rig with one monitor, one object store on a sparse file, no
# replication and no authentication between its daemons. Needs Debian's packages radosgw ceph-mon ceph-osd ceph-common.
#
#   ceph_rgw.sh start DIR PORT [CERTIFICATE]    makes DIR; user test, secret test; TLS with a certificate and its key
#   ceph_rgw.sh stop DIR                        ends the daemons by the numbers they wrote down
set -euo pipefail
command=$1 dir=$2
export CEPH_CONF=$dir/ceph.conf

wait_for() {
  local until=$((SECONDS + 120)) # a busy machine takes a minute for what takes a second otherwise
  while [ $SECONDS -lt $until ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
  echo "does not come up: $*" >&2
  return 1
}

write_configuration() {
  cat > "$CEPH_CONF" <<END
[global]
fsid = $fsid
mon_host = v1:127.0.0.1:$monitor_port
ms_bind_msgr2 = false
monmap = $dir/monmap
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
log_file = $dir/\$name.log
run_dir = $dir
admin_socket = $dir/\$name.\$pid.asok
[osd]
osd_crush_update_on_start = false
osd_class_update_on_start = false
osd_objectstore = bluestore
bluestore_block_size = 10737418240
bluestore_block_create = true
[client.rgw]
rgw_data = $dir/rgw
rgw_run_sync_thread = false
END
}

start_monitor() {
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
  monmaptool --create --clobber --fsid "$fsid" --addv a "[v1:127.0.0.1:$monitor_port]" "$dir/monmap"
  ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" --mon-data "$dir/mon"
  ceph-mon -i a --mon-data "$dir/mon" --pid-file "$dir/mon.pid"
  wait_for ceph mon stat
}

start_object_store() {
  local id
  id=$(cat /proc/sys/kernel/random/uuid)
  ceph osd new "$id"
  ceph-osd -i 0 --mkfs --osd-uuid "$id" --osd-data "$dir/osd"
  ceph osd crush add osd.0 1.0 root=default host=localhost
  ceph-osd -i 0 --osd-data "$dir/osd" --pid-file "$dir/osd.pid"
}

start_gateway() {
  local endpoint="endpoint=127.0.0.1:$port" url="http://127.0.0.1:$port/"
  if [ -n "$certificate" ]; then
    endpoint="ssl_endpoint=127.0.0.1:$port ssl_certificate=$certificate" url="https://127.0.0.1:$port/"
  fi
  radosgw -n client.rgw --pid-file "$dir/rgw.pid" --rgw-frontends "beast $endpoint"
  wait_for curl --fail --silent --insecure "$url"
  radosgw-admin -n client.rgw user create --uid test --display-name test --access-key test --secret-key test
}

case $command in
start)
  port=$3 certificate=${4:-}
  monitor_port=$((port + 1)) fsid=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$dir"/{mon,osd,rgw}
  write_configuration
  { start_monitor; start_object_store; start_gateway; } > "$dir/start.log" 2>&1
  ;;
stop)
  for daemon in rgw osd mon; do
    [ -f "$dir/$daemon.pid" ] && kill "$(cat "$dir/$daemon.pid")" 2>/dev/null || true
  done
  ;;
esac
