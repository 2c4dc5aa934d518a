// A client of the Routes API on grpc-go, with the settings of the published one: each message is a line of JSON.
//
//	routes-client ADDRESS METHOD REQUEST
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

//go:embed routes.json
var schema []byte

func main() {
	err := call(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		failed := status.Convert(err)
		line, _ := json.Marshal(map[string]string{"code": failed.Code().String(), "message": failed.Message()})
		fmt.Println(string(line))
		os.Exit(1)
	}
}

func call(address, name, text string) error {
	method, err := method(name)
	if err != nil {
		return err
	}
	request := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(text), request); err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Second, Timeout: 15 * time.Second}))
	if err != nil {
		return err
	}
	description := &grpc.StreamDesc{ServerStreams: method.IsStreamingServer()}
	stream, err := connection.NewStream(context.Background(), description, "/routes.Routes/"+name)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		answer := dynamicpb.NewMessage(method.Output())
		if err := stream.RecvMsg(answer); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := show(answer); err != nil {
			return err
		}
		if !method.IsStreamingServer() {
			return nil
		}
	}
}

func method(name string) (protoreflect.MethodDescriptor, error) {
	parsed := &descriptorpb.FileDescriptorProto{}
	if err := protojson.Unmarshal(schema, parsed); err != nil {
		return nil, err
	}
	file, err := protodesc.NewFile(parsed, nil)
	if err != nil {
		return nil, err
	}
	method := file.Services().ByName("Routes").Methods().ByName(protoreflect.Name(name))
	if method == nil {
		return nil, fmt.Errorf("there is no method %s", name)
	}
	return method, nil
}

// The library varies its spaces on purpose.
func show(message proto.Message) error {
	text, err := protojson.Marshal(message)
	if err != nil {
		return err
	}
	line := &bytes.Buffer{}
	if err := json.Compact(line, text); err != nil {
		return err
	}
	fmt.Println(line)
	return nil
}
