# Redis 7 from Debian.
# shellcheck shell=bash

redis_start() {
    private_dir "$DATA/redis"
    redis_settings | private_file "$DATA/redis.conf"
    spawn redis redis-server "$DATA/redis.conf"
}

redis_settings() {
    cat "$CHECKOUT/docker/redis/redis.conf" - <<END
bind 127.0.0.1
port $(port_of redis)
dir "$DATA/redis"
requirepass $(secret redis_password)
END
}

# Answers an error while it still reads its log from disk.
redis_ready() { [[ $(REDISCLI_AUTH=$(secret redis_password) redis-cli -h 127.0.0.1 -p "$(port_of redis)" ping 2>&1) == PONG ]]; }
redis_stop() { halt redis TERM 30; }
redis_uri() { printf 'redis://:%s@127.0.0.1:%s/0' "$(secret redis_password)" "$(port_of redis)"; }
