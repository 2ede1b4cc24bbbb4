package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	small = `{"id":"msg_rig","type":"message","role":"assistant","model":"kimi-k2.5",` +
		`"content":[{"type":"text","text":"Every word of this came when it was said."}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":11}}`
	smallHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_rig\r\nX-Rig-Received: "
	streamed  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" +
		"Cache-Control: no-cache\r\nrequest-id: req_rig\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// upstream serves plainly, and with TLS where an authority is to be written, until standard input
// ends: whoever started it may die in any way.
func upstream(words []string) {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	authority := flags.String("authority", "", "serve TLS too, and write its authority to this file")
	flags.Parse(words)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go accept(plain)
	fmt.Printf("plain %d\n", plain.Addr().(*net.TCPAddr).Port)
	if *authority != "" {
		secure, err := tls.Listen("tcp", "127.0.0.1:0", identity(*authority))
		if err != nil {
			log.Fatal(err)
		}
		go accept(secure)
		fmt.Printf("tls %d\n", secure.Addr().(*net.TCPAddr).Port)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func accept(listening net.Listener) {
	for {
		c, err := listening.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// wrong says which credentials should not have come with a request: nobody's but the one that was
// to be put in, and that one once.
func wrong(fields http.Header) string {
	for name, values := range fields {
		switch name {
		case "X-Api-Key", "X-Bridge-Key", "Proxy-Authorization", "Cookie":
			return name
		}
		for _, value := range values {
			if strings.Contains(value, "placeholder") {
				return name
			}
		}
	}
	if sent := fields["Authorization"]; len(sent) != 1 || sent[0] != "Bearer injected" {
		return "Authorization"
	}
	return ""
}

func serve(c net.Conn) {
	r := bufio.NewReaderSize(c, 1<<16)
	buffer := make([]byte, 1<<18)
	var out []byte
	for {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		received, err := io.CopyBuffer(nowhere{}, q.Body, buffer)
		if err != nil {
			return
		}
		if name := wrong(q.Header); name != "" {
			text := "rig: wrong credentials arrived: " + name
			_, err = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		} else if script := q.Header.Get("X-Rig"); script != "" {
			err = stream(c, script)
		} else {
			out = append(strconv.AppendInt(append(out[:0], smallHead...), received, 10), "\r\nContent-Length: "...)
			out = append(append(strconv.AppendInt(out, int64(len(small)), 10), "\r\n\r\n"...), small...)
			_, err = c.Write(out)
		}
		if err != nil {
			return
		}
	}
}

// nowhere is io.Discard without a buffer of its own, which would be used instead of the larger one.
type nowhere struct{}

func (nowhere) Write(data []byte) (int, error) { return len(data), nil }

// stream plays a script; the head, the opening and the first events leave in one write.
func stream(c net.Conn, script string) error {
	var events, size, gap, batch int
	if _, err := fmt.Sscan(script, &events, &size, &gap, &batch); err != nil || batch < 1 {
		return fmt.Errorf("no such script: %s", script)
	}
	whole := newChunks(size, batch)
	first := fmt.Sprintf("%s%x\r\n%s\r\n", streamed, len(opening), opening)
	due := now()
	for sent := 0; sent < events; sent += batch {
		frame := whole
		if events-sent < batch {
			frame = newChunks(size, events-sent)
		}
		if wait := due - now(); wait > 0 {
			time.Sleep(time.Duration(wait))
		}
		data := frame.stamped(now())
		if sent == 0 {
			data = append([]byte(first), data...)
		}
		if _, err := c.Write(data); err != nil {
			return err
		}
		due += int64(gap) * 1000
	}
	_, err := fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n", len(closing), closing)
	return err
}

// identity returns the TLS settings of localhost and writes the authority that vouches for it.
func identity(file string) *tls.Config {
	authority, key := certificate("rig authority", nil, nil)
	server, serverKey := certificate("localhost", authority, key)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})
	if err := os.WriteFile(file, block, 0o644); err != nil {
		log.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
}

func certificate(name string, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	if issuer == nil {
		form.IsCA, form.KeyUsage = true, x509.KeyUsageCertSign
		issuer, issuerKey = form, key
	} else {
		form.DNSNames = []string{name}
		form.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		form.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	raw, err := x509.CreateCertificate(rand.Reader, form, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		log.Fatal(err)
	}
	made, err := x509.ParseCertificate(raw)
	if err != nil {
		log.Fatal(err)
	}
	return made, key
}
