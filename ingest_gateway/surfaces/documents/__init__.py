"""What is generated from a surface's OpenAPI document and served next to it: itself, a Postman collection, a reference.
"""
