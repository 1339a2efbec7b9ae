"""The shapes of answers, for the OpenAPI document and the tests: PostgreSQL renders them, and no server parses them."""
