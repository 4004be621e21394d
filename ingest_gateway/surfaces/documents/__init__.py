"""What is made of a surface's OpenAPI document and served beside it: itself, a Postman collection, a reference."""
