"""What is generated from a surface's OpenAPI document and served with it: a Postman collection, a reference."""
