"""Parses the text of a GraphQL document.

graphql-core links the tokens of a document in both directions, which are reference cycles. This module removes the
links, even if the document is not valid. Otherwise, invalid documents would stay in memory until the next collection.
"""

from graphql import DocumentNode, GraphQLSyntaxError, Lexer, Source, Token
from graphql.language.parser import Parser


def parse(text: str, max_tokens: int) -> DocumentNode:
    """Return the document in a text. Raises `GraphQLSyntaxError`."""
    source = Source(text)
    lexer = Lexer(source)
    first = lexer.token
    try:
        return Parser(source, lexer=lexer, max_lexical_tokens=max_tokens, max_comments=max_tokens).parse_document()
    except RecursionError:
        position = lexer.token.start
    finally:
        _unlink(first)
    # If the error were raised above, its context would keep the frames of the recursion.
    raise GraphQLSyntaxError(source, position, "the document is nested too deeply")


def _unlink(token: Token | None) -> None:
    """Remove the links between a token and all tokens after it."""
    while token is not None:
        following = token.next
        token.prev = token.next = None
        token = following
