// Asks one question through quern with nothing but an ordinary Kafka client.
//
//	go run . [BROKERS] [PREFIX] QUESTION
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type reply struct {
	Status, Text string
	Error        struct{ Code, Message string }
}

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		log.Fatal("usage: go run . [BROKERS] [PREFIX] QUESTION")
	}
	where, question := args[:len(args)-1], args[len(args)-1]
	brokers, prefix := "127.0.0.1:9092", "quern"
	if len(where) > 0 {
		brokers = where[0]
	}
	if len(where) > 1 {
		prefix = where[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// Replies from a moment ago on; ours cannot be older. The default partitioner is the one that keeps sessions together.
	since := time.Now().Add(-time.Second)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.ConsumeTopics(prefix+".replies"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(since.UnixMilli())))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	id := fmt.Sprintf("go-%d-%d", os.Getpid(), time.Now().UnixNano())
	body, _ := json.Marshal(map[string]any{"id": id, "input": question})
	record := &kgo.Record{Topic: prefix + ".requests", Key: []byte(id), Value: body,
		Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/json")}}}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		log.Fatal(err)
	}

	for ctx.Err() == nil {
		for _, r := range client.PollFetches(ctx).Records() {
			if string(r.Key) != id {
				continue
			}
			var answer reply
			if err := json.Unmarshal(r.Value, &answer); err != nil {
				log.Fatal(err)
			}
			if answer.Status != "done" {
				log.Fatalf("%s: %s", answer.Error.Code, answer.Error.Message)
			}
			fmt.Println(answer.Text)
			return
		}
	}
	log.Fatal("no reply within a minute")
}
