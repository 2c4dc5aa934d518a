// The interoperability cases of gRPC as grpc-go has them, as a server and as a client that says `ok CASE` for each.
//
//	grpc-interop server ADDRESS [CERTIFICATE KEY]
//	grpc-interop client ADDRESS CASE,CASE,... [AUTHORITY]
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testing "google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	var err error
	switch os.Args[1] {
	case "server":
		err = serve(os.Args[2], os.Args[3:])
	case "client":
		err = ask(os.Args[2], strings.Split(os.Args[3], ","), os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string, files []string) error {
	options := []grpc.ServerOption{}
	if len(files) == 2 {
		tls, err := credentials.NewServerTLSFromFile(files[0], files[1])
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(options...)
	testing.RegisterTestServiceServer(server, interop.NewTestServer())
	return server.Serve(listener)
}

func ask(address string, cases []string, authority []string) error {
	secrecy := insecure.NewCredentials()
	if len(authority) == 1 {
		var err error
		if secrecy, err = credentials.NewClientTLSFromFile(authority[0], ""); err != nil {
			return err
		}
	}
	connection, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(secrecy))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := testing.NewTestServiceClient(connection)
	calls := map[string]func(context.Context, testing.TestServiceClient, ...grpc.CallOption){
		"empty_unary":                 interop.DoEmptyUnaryCall,
		"large_unary":                 interop.DoLargeUnaryCall,
		"client_streaming":            interop.DoClientStreaming,
		"server_streaming":            interop.DoServerStreaming,
		"ping_pong":                   interop.DoPingPong,
		"empty_stream":                interop.DoEmptyStream,
		"cancel_after_begin":          interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
		"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
		"custom_metadata":             interop.DoCustomMetadata,
		"status_code_and_message":     interop.DoStatusCodeAndMessage,
		"special_status_message":      interop.DoSpecialStatusMessage,
	}
	for _, name := range cases {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if name == "unimplemented_method" {
			interop.DoUnimplementedMethod(ctx, connection)
		} else if call, known := calls[name]; known {
			call(ctx, client)
		} else {
			return fmt.Errorf("no case %s", name)
		}
		cancel()
		fmt.Println("ok", name)
	}
	return nil
}
