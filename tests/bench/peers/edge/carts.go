package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

// What a client asks for.
type wantedItem struct {
	ProductID string `json:"product_id"`
	Quantity  int64  `json:"quantity"`
}

// What the command says, member by member.
type addItem struct {
	MemberID    string `msgpack:"member_id"`
	ProductID   string `msgpack:"product_id"`
	Quantity    int64  `msgpack:"quantity"`
	ProductName string `msgpack:"product_name"`
	Price       string `msgpack:"price"`
	Version     int64  `msgpack:"product_version"`
}

type product struct {
	Name    string               `bson:"name"`
	Price   primitive.Decimal128 `bson:"effective_price"`
	Active  bool                 `bson:"is_active"`
	Version int64                `bson:"version"`
}

func openCatalogue(ctx context.Context, uri string) (*mongo.Collection, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(uri))
	if err != nil {
		return nil, err
	}
	return client.Database(parsed.Database).Collection("products"), nil
}

// A product's public id carries its ObjectId: 6 bytes, a mark of 4, the other 6.
func objectID(public uuid.UUID) (id primitive.ObjectID) {
	copy(id[:6], public[:6])
	copy(id[6:], public[10:])
	return id
}

// Whose token it is. Whoever comes is believed.
func caller(request *http.Request) (string, error) {
	var claims struct {
		Subject string `json:"sub"`
	}
	parts := strings.Split(request.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("no token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	return claims.Subject, err
}

func (e *edge) addItem(answer http.ResponseWriter, request *http.Request) {
	var wanted wantedItem
	var found product
	member, err := caller(request)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusUnauthorized)
		return
	}
	if err := json.NewDecoder(request.Body).Decode(&wanted); err != nil || wanted.Quantity < 1 || wanted.Quantity > 999 {
		http.Error(answer, "not an item", http.StatusUnprocessableEntity)
		return
	}
	id, err := uuid.Parse(wanted.ProductID)
	if err == nil {
		// Name and price come from the catalogue, never from the client.
		err = e.products.FindOne(request.Context(), bson.D{{Key: "_id", Value: objectID(id)}}).Decode(&found)
	}
	if err != nil || !found.Active {
		http.Error(answer, "no such product", http.StatusNotFound)
		return
	}
	command := uuid.Must(uuid.NewV7())
	value, _ := msgpack.Marshal(addItem{member, wanted.ProductID, wanted.Quantity, found.Name, found.Price.String(), found.Version})
	record := &kgo.Record{Topic: e.carts, Key: []byte(member), Value: value, Headers: headers(command, "cart.add_item.v1")}
	sent, err := e.client.ProduceSync(context.WithoutCancel(request.Context()), record).First()
	if err != nil {
		http.Error(answer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	accept(answer, command, "cart.add_item", "/v1/cart", sent.Offset)
}
