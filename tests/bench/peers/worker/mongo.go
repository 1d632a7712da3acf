package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

type recordView struct {
	ProductID string `msgpack:"product_id"`
}

// A copy of tillwire's products, counted by itself, with the data model's unique key.
type mongoStore struct {
	database *mongo.Database
	products *mongo.Collection
	before   int64 // views
	written  atomic.Int64
}

func openMongo(ctx context.Context, uri string) (store, error) {
	return openCollection(ctx, uri, "bench_products")
}

func openCollection(ctx context.Context, uri, collection string) (*mongoStore, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(uri).SetRetryWrites(false))
	if err != nil {
		return nil, err
	}
	database := client.Database(parsed.Database)
	return &mongoStore{database: database, products: database.Collection(collection)}, nil
}

func printViews(uri, collection string) error {
	products, err := openCollection(context.Background(), uri, collection)
	if err != nil {
		return err
	}
	views, err := products.views(context.Background())
	fmt.Printf("views=%d\n", views)
	return err
}

func (m *mongoStore) prepare(ctx context.Context) (err error) {
	copied, err := m.products.EstimatedDocumentCount(ctx)
	if err == nil && copied == 0 {
		err = m.copyProducts(ctx)
	}
	if err == nil {
		m.before, err = m.views(ctx)
	}
	return err
}

func (m *mongoStore) copyProducts(ctx context.Context) error {
	var products []any
	cursor, err := m.database.Collection("products").Find(ctx, bson.D{})
	if err != nil {
		return err
	}
	for cursor.Next(ctx) {
		products = append(products, append(bson.Raw(nil), cursor.Current...))
	}
	if err := cursor.Err(); err != nil {
		return err
	}
	if _, err = m.products.InsertMany(ctx, products); err != nil {
		return err
	}
	_, err = m.products.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "sku", Value: 1}}, Options: options.Index().SetUnique(true)})
	return err
}

func (m *mongoStore) views(ctx context.Context) (sum int64, err error) {
	cursor, err := m.products.Find(ctx, bson.D{})
	if err != nil {
		return 0, err
	}
	for cursor.Next(ctx) {
		var product struct {
			Views int64 `bson:"view_count"`
		}
		if err := cursor.Decode(&product); err != nil {
			return 0, err
		}
		sum += product.Views
	}
	return sum, cursor.Err()
}

// A product's public id carries its ObjectId: 6 bytes, a mark of 4, the other 6.
func objectID(productID string) (id primitive.ObjectID, err error) {
	public, err := uuid.Parse(productID)
	copy(id[:6], public[:6])
	copy(id[6:], public[10:])
	return id, err
}

func (m *mongoStore) write(ctx context.Context, batch []*kgo.Record) error {
	views := make(map[primitive.ObjectID]int64)
	for _, record := range batch {
		var view recordView
		if err := msgpack.Unmarshal(record.Value, &view); err != nil {
			return err
		}
		id, err := objectID(view.ProductID)
		if err != nil {
			return err
		}
		views[id]++
	}
	m.written.Add(int64(len(batch)))
	updates := make([]mongo.WriteModel, 0, len(views))
	for id, count := range views {
		updates = append(updates, mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).
			SetUpdate(bson.D{{Key: "$inc", Value: bson.D{{Key: "view_count", Value: count}}}}))
	}
	_, err := m.products.BulkWrite(ctx, updates, options.BulkWrite().SetOrdered(false))
	return err
}

func (m *mongoStore) check(ctx context.Context) error {
	after, err := m.views(ctx)
	if err == nil && after-m.before != m.written.Load() {
		err = fmt.Errorf("%d views of %d records", after-m.before, m.written.Load())
	}
	return err
}
