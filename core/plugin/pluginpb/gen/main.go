// Command gen writes foreman.pb.go and foreman_grpc.pb.go from foreman.proto
// in the working directory. It is the whole of protoc that we need: nothing to
// install, and the same bytes on every machine, since the generators' versions
// are pinned in go.mod.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const source = "foreman.proto"

func main() {
	if err := generate(context.Background(), "protoc-gen-go", "protoc-gen-go-grpc"); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// generate compiles the source and writes what each generator makes of it.
func generate(ctx context.Context, generators ...string) error {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, source)
	if err != nil {
		return err
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{source},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      withImports(files[0], nil),
	})
	if err != nil {
		return err
	}
	for _, generator := range generators {
		if err := run(ctx, generator, request); err != nil {
			return fmt.Errorf("%s: %w", generator, err)
		}
	}
	return nil
}

// withImports appends file to list after all that it imports, each file once,
// which is the order that a generator expects.
func withImports(file protoreflect.FileDescriptor, list []*descriptorpb.FileDescriptorProto) []*descriptorpb.FileDescriptorProto {
	for _, f := range list {
		if f.GetName() == file.Path() {
			return list
		}
	}
	for i := range file.Imports().Len() {
		list = withImports(file.Imports().Get(i).FileDescriptor, list)
	}
	return append(list, protoutil.ProtoFromFileDescriptor(file))
}

// run sends request to one generator and writes the files that it answers.
func run(ctx context.Context, generator string, request []byte) error {
	cmd := exec.CommandContext(ctx, "go", "tool", generator)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, f := range response.GetFile() {
		if err := os.WriteFile(f.GetName(), []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
