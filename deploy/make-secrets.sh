#!/usr/bin/env bash
# Makes the secrets of docker-compose.yml, once: deploy/make-secrets.sh [FOLDER]
#
# Keep a copy of `root-key` apart from the database's backups: without it no stored key can be verified again.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-deploy/secrets}
if [ -e "$folder" ]; then
  echo "make-secrets: \`$folder\` is there already; what uses these secrets would not start with others" >&2
  exit 1
fi

# The folder is for its owner alone. The files in it are for everybody, since the container's user is another one than
# the owner, and sees them by themselves.
mkdir -m 700 "$folder.new"
trap 'rm -rf "$folder.new"' EXIT

# In hexadecimal: nothing of it has to be encoded in a URL.
password=$(openssl rand -hex 24)
printf '%s\n' "$password" >"$folder.new/postgres-password"
printf 'postgres://claviger:%s@postgres:5432/claviger?sslmode=disable\n' "$password" >"$folder.new/database-url"
openssl rand -base64 32 >"$folder.new/root-key"
openssl rand -hex 32 >"$folder.new/bootstrap-token"
chmod 444 "$folder.new"/*

# All of them or none.
mv "$folder.new" "$folder"
