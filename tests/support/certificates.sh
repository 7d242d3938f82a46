#!/usr/bin/env bash
# certificates.sh DIR: certificates for tests, NAME.pem with its key in NAME.key, and the two CAs that sign them.
set -euo pipefail
cd "$1"

ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign -keyout "$1.key" -out "$1.pem"
}

# certificate NAME CA DAYS SUBJECT [ALTERNATIVE_NAMES]
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$4" -keyout "$1.key" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$3" -out "$1.pem" \
    -extfile <(echo "basicConstraints=CA:false"; if [[ ${5-} ]]; then echo "subjectAltName=$5"; fi)
}

make() {
  ca ca
  ca other-ca
  certificate server ca 30 server DNS:localhost,IP:127.0.0.1,IP:::1
  certificate renewed ca 30 renewed DNS:localhost,IP:127.0.0.1
  certificate wrong-name ca 30 localhost DNS:elsewhere.test,IP:127.0.0.1
  certificate wrong-address ca 30 127.0.0.1 DNS:localhost,IP:127.0.0.2
  certificate only-subject ca 30 localhost
  certificate wildcard ca 30 wildcard 'DNS:*.example.test'
  certificate expired ca -1 expired DNS:localhost,IP:127.0.0.1
  certificate of-other-ca other-ca 30 server DNS:localhost,IP:127.0.0.1
  certificate client ca 30 client
  certificate client-of-other-ca other-ca 30 client
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout self-signed.key -out self-signed.pem
  openssl pkey -in client.key -aes128 -passout pass:unknown -out encrypted.key
  cat client.pem client.key >client-with-key.pem
  cat ca.pem other-ca.pem >both-cas.pem
}

make >log 2>&1 || { cat log >&2; exit 1; }
