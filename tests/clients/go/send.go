// Exports in one of several patterns by grpc-go; prints how the calls ended and how many spans were taken as JSON.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// Messages are written here by hand: nothing but grpc-go itself is needed.
type written struct{}

func (written) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }
func (written) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (written) Name() string   { return "proto" }
func (written) String() string { return "proto" }

func field(number int, content []byte) []byte {
	var lead [20]byte
	at := binary.PutUvarint(lead[:], uint64(number<<3|2))
	at += binary.PutUvarint(lead[at:], uint64(len(content)))
	return append(lead[:at:at], content...)
}

func fixed64(number int, value uint64) []byte {
	var content [9]byte
	content[0] = byte(number<<3 | 1)
	binary.LittleEndian.PutUint64(content[1:], value)
	return content[:]
}

func attribute(key, value string) []byte {
	return field(9, append(field(1, []byte(key)), field(2, field(1, []byte(value)))...))
}

// An export of inferences that have just ended; its number makes their ids unlike all others.
func inferences(number uint64, count int, padding string) []byte {
	now := uint64(time.Now().UnixNano())
	spans := field(1, field(1, []byte("infermeter")))
	for i := 0; i < count; i++ {
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], number)
		binary.BigEndian.PutUint64(id[8:], number<<16+uint64(i)+1)
		span := append(field(1, id[:]), field(2, id[8:])...)
		span = append(span, field(5, []byte("inference"))...)
		span = append(append(span, fixed64(7, now-10_000_000)...), fixed64(8, now)...)
		span = append(span, attribute("infermeter.model", "m")...)
		spans = append(spans, field(2, append(span, attribute("padding", padding)...))...)
	}
	return field(1, field(2, spans))
}

func main() {
	address := flag.String("address", "", "")
	calls := flag.Uint64("calls", 1000, "")
	parallel := flag.Int("parallel", 1, "calls at a time")
	connections := flag.Int("connections", 1, "that share the calls")
	spans := flag.Int("spans", 1, "in an export")
	padding := flag.Int("padding", 0, "bytes more in a span")
	header := flag.Int("header", 0, "bytes of metadata")
	gzip := flag.Bool("gzip", false, "")
	cancel := flag.Bool("cancel", false, "every other call, up to a millisecond after it began")
	seconds := flag.Float64("seconds", 30, "that a call may take")
	flag.Parse()

	clients := make([]*grpc.ClientConn, *connections)
	for i := range clients {
		client, err := grpc.Dial(*address, grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.ForceCodec(written{})),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
		if err != nil {
			panic(err)
		}
		defer client.Close()
		clients[i] = client
	}
	var options []grpc.CallOption
	if *gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	base := uint64(time.Now().UnixNano()) << 12
	one := func(number uint64) codes.Code {
		ctx, stop := context.WithTimeout(context.Background(), time.Duration(*seconds*float64(time.Second)))
		defer stop()
		if *header > 0 {
			value := string(bytes.Repeat([]byte("ab;,"), *header/4))
			ctx = metadata.AppendToOutgoingContext(ctx, "x-long", value, "x-number", fmt.Sprint(number), "x-some-bin", "\x00\x01\xff")
		}
		if *cancel && number%2 == 0 {
			time.AfterFunc(time.Duration(number%10)*100*time.Microsecond, stop)
		}
		message := inferences(base+number, *spans, string(bytes.Repeat([]byte("x"), *padding)))
		var answer []byte
		return status.Code(clients[number%uint64(len(clients))].Invoke(ctx, export, &message, &answer, options...))
	}

	var lock sync.Mutex
	var wait sync.WaitGroup
	var next uint64
	ended := map[string]int{}
	taken := 0
	for i := 0; i < *parallel; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			lock.Lock()
			defer lock.Unlock()
			for next < *calls {
				next++
				number := next
				lock.Unlock()
				code := one(number)
				lock.Lock()
				ended[code.String()]++
				if code == codes.OK {
					taken += *spans
				}
			}
		}()
	}
	wait.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"ended": ended, "spans": taken}); err != nil {
		panic(err)
	}
}
