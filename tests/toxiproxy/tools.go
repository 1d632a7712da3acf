//go:build tools

// Package toxiproxy names the program that end-to-end tests run, so that go.mod pins its version and all it needs.
package toxiproxy

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
