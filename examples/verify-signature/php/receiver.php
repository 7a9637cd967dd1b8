<?php
// A callback receiver that verifies webhook-signature (Standard Webhooks).
//
//     CALLBACK_SECRET=whsec_… php -d enable_post_data_reading=0 -S 127.0.0.1:8080 receiver.php
//
// With enable_post_data_reading on, PHP keeps the bytes of multipart bodies to itself.

$secret = getenv('CALLBACK_SECRET');
if (!$secret) {
    http_response_code(500); // or the callback would count as taken
    exit('set CALLBACK_SECRET');
}
// What follows whsec_ is base64; any other secret is used as it is.
$key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6)) : $secret;

function valid(string $key, string $body): bool
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        return false; // an old callback, sent again
    }
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // One signature for each secret that is in use.
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $given) {
        if (hash_equals($want, $given)) {
            return true;
        }
    }
    return false;
}

$body = file_get_contents('php://input');
if (!valid($key, $body)) {
    http_response_code(401);
    exit('bad signature');
}
error_log('task ' . ($_SERVER['HTTP_CALLBACK_TASK_ID'] ?? '') . ': ' . strlen($body) . ' bytes');
http_response_code(204);
