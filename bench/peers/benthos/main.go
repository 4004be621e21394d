// Benthos with one output of ours: each batch goes to Kafka in one synchronous call of franz-go, acks=all, so an HTTP
// answer follows the broker's acknowledgement of every event that the request held.
package main

import (
	"context"
	"log"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	brokers  = "brokers"
	topic    = "topic"
	inFlight = "max_in_flight"

	// More than a benchmark ever has under way: the client never waits for room.
	bufferedMax = 1 << 20
)

type confirmedOutput struct {
	options []kgo.Opt
	client  *kgo.Client
}

func newConfirmedOutput(
	conf *service.ParsedConfig, _ *service.Resources,
) (out service.BatchOutput, policy service.BatchPolicy, atOnce int, err error) {
	var seeds []string
	var name string
	if seeds, err = conf.FieldStringList(brokers); err != nil {
		return
	}
	if name, err = conf.FieldString(topic); err != nil {
		return
	}
	if atOnce, err = conf.FieldInt(inFlight); err != nil {
		return
	}
	out = &confirmedOutput{options: []kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.DefaultProduceTopic(name),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MaxBufferedRecords(bufferedMax),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // as Atlas and the bare gateway
	}}
	return
}

func (o *confirmedOutput) Connect(context.Context) (err error) {
	o.client, err = kgo.NewClient(o.options...)
	return err
}

// The metadata `key` becomes the record's key.
func (o *confirmedOutput) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for i, message := range batch {
		value, err := message.AsBytes()
		if err != nil {
			return err
		}
		key, _ := message.MetaGet("key")
		records[i] = &kgo.Record{Key: []byte(key), Value: value}
	}
	return o.client.ProduceSync(ctx, records...).FirstErr()
}

func (o *confirmedOutput) Close(context.Context) error {
	if o.client != nil {
		o.client.Close()
	}
	return nil
}

func main() {
	spec := service.NewConfigSpec().Fields(
		service.NewStringListField(brokers),
		service.NewStringField(topic),
		service.NewIntField(inFlight).Default(256),
	)
	if err := service.RegisterBatchOutput("kafka_confirmed", spec, newConfirmedOutput); err != nil {
		log.Fatal(err)
	}
	service.RunCLI(context.Background())
}
