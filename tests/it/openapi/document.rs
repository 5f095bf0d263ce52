//! The document as the hub serves it: its operations, and whether a value or an answer is as it says.
//!
//! Answers are held to more than the document asks of its readers: a field that it does not name is an error here, so
//! that none is forgotten in it. Receivers must go on taking fields that they do not know.

use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use serde_json::{Map, Value, json};

use crate::support::TestHub;

pub struct Document {
    root: Value,
    /// The schemas, closed to fields that they do not name.
    closed: Value,
    /// Follows no redirects: they are answers too.
    client: reqwest::Client,
}

/// One method of one path.
pub struct Operation<'a> {
    pub method: Method,
    pub path: &'a str,
    pub object: &'a Value,
}

/// What a route answered.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Document {
    pub async fn of(hub: &TestHub) -> Self {
        let response = hub.client().get(hub.url("/openapi.json")).send();
        let root: Value = response.await.unwrap().json().await.unwrap();
        let mut closed = root["components"]["schemas"].clone();
        close(&mut closed);
        let client = reqwest::Client::builder().redirect(Policy::none()).build();
        Self {
            root,
            closed,
            client: client.unwrap(),
        }
    }

    /// What a JSON pointer leads to.
    #[track_caller]
    pub fn at(&self, pointer: &str) -> &Value {
        let found = self.root.pointer(pointer);
        found.unwrap_or_else(|| panic!("{pointer} leads nowhere in the document"))
    }

    /// The value itself, or what it refers to.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.at(reference.trim_start_matches('#')),
            None => value,
        }
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.root["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, object)| Operation {
                method: method.to_uppercase().parse().unwrap(),
                path,
                object,
            })
        });
        operations.collect()
    }

    pub fn operation(&self, id: &str) -> Operation<'_> {
        let mut operations = self.operations().into_iter();
        operations
            .find(|operation| operation.object["operationId"] == id)
            .unwrap_or_else(|| panic!("there is no operation {id}"))
    }

    /// That a value is as a schema says.
    #[track_caller]
    pub fn check(&self, schema: &Value, value: &Value) {
        check(&self.root["components"]["schemas"], schema, value);
    }

    /// That a value is as the schema of this name says, and has no field that it does not name.
    #[track_caller]
    pub fn check_closed(&self, name: &str, value: &Value) {
        check(&self.closed, &self.closed[name], value);
    }

    /// That an answer is one of those that its operation documents, with its headers and its body; its JSON, if it is.
    #[track_caller]
    pub fn check_answer(&self, operation: &Operation<'_>, answer: &Answer) -> Value {
        let Answer { status, text, .. } = answer;
        let about = format!("{} {}: {status} {text}", operation.method, operation.path);
        let documented = &operation.object["responses"][status.to_string()];
        assert!(documented.is_object(), "not documented: {about}");
        let documented = self.resolve(documented);
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            if self.resolve(header)["required"] == true {
                assert!(answer.headers.contains_key(name), "no {name}: {about}");
            }
        }
        let Some(content) = documented["content"].as_object() else {
            assert_eq!(text, "", "a body where none is documented: {about}");
            return Value::Null;
        };
        let media_type = answer.headers["content-type"].to_str().unwrap();
        let media_type = media_type.split(';').next().unwrap();
        let Some(described) = content.get(media_type) else {
            panic!("{media_type} is not documented: {about}");
        };
        if !media_type.ends_with("json") {
            return Value::Null;
        }
        let value: Value = serde_json::from_str(text).expect(&about);
        let mut schema = described["schema"].clone();
        close(&mut schema);
        check(&self.closed, &schema, &value);
        value
    }

    /// Calls an operation at a path with its parameters; a body comes with its content type.
    pub async fn call(
        &self,
        operation: &Operation<'_>,
        url: String,
        token: Option<String>,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request = self.client.request(operation.method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((media_type, text)) = body {
            request = request.header("content-type", media_type).body(text);
        }
        let response = request.send().await.expect("an answer");
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("text"),
        }
    }

    /// Each schema that has examples, and each description of a body or header that has, with one of them.
    pub fn examples(&self) -> Vec<(&Value, &Value)> {
        let mut found = Vec::new();
        self.collect_examples(&self.root, &mut found);
        found
    }

    fn collect_examples<'a>(&'a self, value: &'a Value, found: &mut Vec<(&'a Value, &'a Value)>) {
        let Value::Object(object) = value else {
            for element in value.as_array().into_iter().flatten() {
                self.collect_examples(element, found);
            }
            return;
        };
        match (&value["examples"], object.get("schema")) {
            (Value::Array(examples), _) => {
                found.extend(examples.iter().map(|example| (value, example)));
            }
            (Value::Object(examples), Some(schema)) => {
                let values = examples.values().map(|named| &self.resolve(named)["value"]);
                found.extend(values.map(|example| (schema, example)));
            }
            _ => {}
        }
        if let (Some(example), Some(schema)) = (object.get("example"), object.get("schema")) {
            found.push((schema, example));
        }
        for (name, member) in object {
            if name != "examples" && name != "example" {
                self.collect_examples(member, found);
            }
        }
    }
}

impl Operation<'_> {
    /// The examples of its bodies, each with its content type.
    pub fn bodies<'a>(&'a self, document: &'a Document) -> Vec<(&'a str, &'a Value)> {
        let content = self.object["requestBody"]["content"].as_object();
        let described = content.into_iter().flatten();
        let examples = described.flat_map(|(media_type, described)| {
            let examples = described["examples"].as_object();
            let named = examples.expect("a body has examples").values();
            named.map(|named| (media_type.as_str(), &document.resolve(named)["value"]))
        });
        examples.collect()
    }

    /// A token of user 42 that its security asks for.
    pub fn token(&self, hub: &TestHub) -> String {
        let roles = self.object["security"][0]["bearer"].as_array();
        let named: Vec<&str> = roles
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let scopes = match named.as_slice() {
            // Whatever the body then asks for.
            [] => vec!["publish"],
            ["reader"] => vec![],
            scopes => scopes.to_vec(),
        };
        hub.token("42", &["ADMIN"], &scopes)
    }
}

#[track_caller]
fn check(schemas: &Value, schema: &Value, value: &Value) {
    let root = json!({"allOf": [schema], "components": {"schemas": schemas}});
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&root)
        .expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{value}\nis not {schema}\n{errors:#?}");
}

/// Refuses fields that an object's schema does not name.
fn close(schema: &mut Value) {
    let Value::Object(object) = schema else {
        for element in schema.as_array_mut().into_iter().flatten() {
            close(element);
        }
        return;
    };
    let open = |object: &Map<String, Value>| {
        !object.contains_key("additionalProperties") && !object.contains_key("allOf")
    };
    if object.get("properties").is_some_and(Value::is_object) && open(object) {
        object.insert("additionalProperties".into(), false.into());
    }
    for member in object.values_mut() {
        close(member);
    }
}
