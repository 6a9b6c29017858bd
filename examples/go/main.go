// Makes a key, checks it, disables it, checks it again, and deletes it, with google.golang.org/grpc.
//
// With Claviger running (`cargo run --release`), Go 1.26 or newer, and buf (https://buf.build/docs/cli/installation):
//
//	cd examples/go
//	buf generate
//	go run . --token-file ../../claviger-data/bootstrap-token
//
// `buf generate` makes the messages and clients from proto/, in gen/; the plugins for it come with this module.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	claviger "claviger.example/check/gen/claviger/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:50051", "where Claviger listens")
	tokenFile := flag.String("token-file", "", "a file with the token of an administrator")
	flag.Parse()
	if err := run(*address, *tokenFile); err != nil {
		log.Fatal(err)
	}
}

func run(address, tokenFile string) error {
	administrator, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	keys := claviger.NewKeyAdminClient(connection)
	authorize := claviger.NewAuthorizeClient(connection)

	anonymous, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// Who administers says so with every call. Checks need no key: who reaches the port may ask.
	bearer := "Bearer " + strings.TrimSpace(string(administrator))
	asAdministrator := metadata.AppendToOutgoingContext(anonymous, "authorization", bearer)

	// Asks about a token that came in a header of its own, and prints the answer.
	check := func(token string) error {
		answer, err := authorize.Check(anonymous, &claviger.CheckRequest{
			Credential: &claviger.Credential{
				Token:        token,
				Presentation: claviger.Presentation_PRESENTATION_HEADER,
			},
		})
		if err != nil {
			return err
		}
		fmt.Printf("%v %v at revision %s\n", answer.GetDecision(), answer.GetReason(), answer.GetRevision())
		return nil
	}

	made, err := keys.CreateKey(asAdministrator, &claviger.CreateKeyRequest{
		Key: &claviger.Key{DisplayName: "from Go"},
	})
	if err != nil {
		return err
	}
	id := made.GetKey().GetId()
	token := made.GetTokens()[0].GetToken() // shown this once: a real program hands it on to whoever will use it
	fmt.Printf("made %s\n", id)
	if err := check(token); err != nil {
		return err
	}

	disabled, err := keys.UpdateKey(asAdministrator, &claviger.UpdateKeyRequest{
		Key:        &claviger.Key{Id: id, Enabled: new(bool), Etag: made.GetKey().GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"enabled"}},
	})
	if err != nil {
		return err
	}
	fmt.Printf("disabled it at revision %s\n", disabled.GetRevision())
	if err := check(token); err != nil {
		return err
	}

	deleted, err := keys.DeleteKey(asAdministrator, &claviger.DeleteKeyRequest{Id: id})
	if err != nil {
		return err
	}
	fmt.Printf("deleted it at revision %s\n", deleted.GetRevision())

	// An error has a status code, and details for people.
	if _, err := keys.GetKey(anonymous, &claviger.GetKeyRequest{Id: id}); err != nil {
		fmt.Printf("without a key: %v\n", status.Code(err))
	}
	return nil
}
