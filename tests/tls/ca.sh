# An authority for certificates on this very server: Pebble, and the names that it believes in.
set -e
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt-get update -qq
apt-get install -y -qq --no-install-recommends pebble openssl faketime > /dev/null
mkdir -p /root/ca
cd /root/ca
# The authority's own API has a certificate of somebody whom no server knows.
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=Test API" -keyout api-ca.key -out api-ca.pem 2> /dev/null
openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" -keyout api.key -out api.csr 2> /dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' > api.ext
openssl x509 -req -in api.csr -CA api-ca.pem -CAkey api-ca.key -CAcreateserial -days 3650 -extfile api.ext -out api.pem 2> /dev/null
cat > config.json <<'END'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
 "certificate": "/root/ca/api.pem", "privateKey": "/root/ca/api.key", "httpPort": 80, "tlsPort": 443,
 "ocspResponderURL": "", "externalAccountBindingRequired": false}}
END
cat > /etc/systemd/system/names.service <<'END'
[Service]
ExecStart=/usr/bin/pebble-challtestsrv -dns01 127.0.0.1:8053 -http01 "" -https01 "" -tlsalpn01 "" -management 127.0.0.1:8055 -defaultIPv6 ""
END
cat > /etc/systemd/system/ca.service <<'END'
[Unit]
After=names.service
Wants=names.service
[Service]
WorkingDirectory=/root/ca
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=50 PEBBLE_AUTHZREUSE=0
ExecStart=/usr/bin/pebble -config /root/ca/config.json -dnsserver 127.0.0.1:8053
END
hostkit config set ssl.directory https://localhost:14000/dir > /dev/null
hostkit config set ssl.ca_file /root/ca/api-ca.pem > /dev/null
